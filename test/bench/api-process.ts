// The embedded API server as a process of its own, loaded with nodes and bound pods; takes more pods by message.

import type { PodManifest } from '../../extender/core/manifest.ts';
import { encodeAllocation } from '../../extender/core/allocation-codec.ts';
import { ALLOCATION_ANNOTATION } from '../../extender/core/resources.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { nodeManifest } from '../support/builders.ts';
import { benchManifest, benchNodeSketch, GPUS_PER_NODE, nodeName, seeded } from './bench-cluster.ts';

const [nodes = 500, placed = 0] = process.argv.slice(2).map(Number);
const server = new EmbeddedApiServer({ historySize: 100_000 });
for (let at = 0; at < nodes; at++) server.cluster.create('nodes', object('Node', nodeManifest(benchNodeSketch(at))));
const random = seeded(5);
for (let at = 0; at < placed; at++) server.cluster.create('pods', object('Pod', boundPod(at)));
await server.listen();
process.send?.({ kubeconfig: server.kubeconfig() });
process.on('message', (pods: PodManifest[]) => {
  for (const pod of pods) server.cluster.create('pods', object('Pod', pod));
  process.send?.('created');
});
process.on('disconnect', () => process.exit(0));

function object<T extends object>(kind: string, manifest: T): T & { apiVersion: string; kind: string } {
  return { apiVersion: 'v1', kind, ...manifest };
}

/** Round robin over GPUs: one small pod each, so that no GPU is over its capacity. */
function boundPod(at: number): PodManifest {
  const node = nodeName(at % nodes);
  const index = Math.floor(at / nodes) % GPUS_PER_NODE;
  const manifest = benchManifest(`placed-${at}`, random);
  const gpus = [{ uuid: `GPU-${node}-${index}`, index, slices: 1, core: 0 }];
  const limits = { 'gpuloom.io/gpu-mem': '1' };
  return {
    ...manifest,
    metadata: {
      ...manifest.metadata,
      labels: { app: `app-${at % 50}` },
      annotations: { [ALLOCATION_ANNOTATION]: encodeAllocation({ containers: [{ name: 'main', gpus }] }) },
    },
    spec: {
      ...manifest.spec,
      nodeName: node,
      containers: [{ name: 'main', resources: { requests: { cpu: '1', memory: '1Gi' }, limits } }],
    },
    status: { phase: 'Running' },
  };
}
