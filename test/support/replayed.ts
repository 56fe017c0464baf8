// Documents for tests of `simulator replay`, from sketches of nodes and pods, and its report as parsed JSON.

import { encodeAllocation } from '../../extender/core/allocation-codec.ts';
import { ALLOCATION_ANNOTATION, PROFILES, type Profile } from '../../extender/core/resources.ts';
import type { ReplayReport } from '../../simulator/replay/report.ts';
import { nodeManifest, podManifest, type NodeSketch, type PodSketch } from './builders.ts';
import { callSimulator, Folder } from './simulated.ts';

/** A pod; with `on`, bound to that node and allocated these of its GPUs. */
export interface ScenePod extends PodSketch {
  readonly on?: readonly [node: string, ...gpus: number[]];
}

export interface Scene {
  readonly nodes: readonly NodeSketch[];
  readonly pods: readonly ScenePod[];
}

export function bound({ on, ...sketch }: ScenePod): PodSketch {
  if (on === undefined) return sketch;
  const [nodeName, ...indices] = on;
  const gpus = indices.map((index) => ({ uuid: `GPU-${nodeName}-${index}`, index, slices: 1, core: 0 }));
  const text = encodeAllocation({ containers: [{ name: 'main', gpus }] });
  const allocation = indices.length === 0 ? {} : { [ALLOCATION_ANNOTATION]: text };
  return { phase: 'Running', ...sketch, nodeName, annotations: { ...sketch.annotations, ...allocation } };
}

/** What `kubectl get nodes,pods -A -o json` would print, objects as they come. */
export function kubectlText(objects: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', items: objects, kind: 'List', metadata: { resourceVersion: '' } }, null, 4);
}

export function kubectlObjects({ nodes, pods }: Scene, profile: Profile = PROFILES.gpuloom): object[] {
  return [
    ...nodes.map((sketch) => ({ apiVersion: 'v1', kind: 'Node', ...nodeManifest(sketch) })),
    ...pods.map((sketch) => ({ apiVersion: 'v1', kind: 'Pod', ...podManifest(bound(sketch), profile) })),
  ];
}

/** The report on a document, which must be answered without an error. */
export async function replayed(
  input: 'kubectl' | 'snapshot',
  text: string,
  ...argv: readonly string[]
): Promise<ReplayReport> {
  using folder = new Folder();
  const file = folder.file('document.json', text);
  const { code, stdout, stderr } = await callSimulator('replay', `--${input}`, file, '--json', '-', ...argv);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as ReplayReport;
}
