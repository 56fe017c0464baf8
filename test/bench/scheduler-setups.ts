// The setups that the scheduler benchmark compares: kube-scheduler alone, with the extender that agrees with
// everything, and with gpuloom. Each start gives a scheduler configuration and ends what it started.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { stringify } from 'yaml';

import type { ControlPlane, RunningProgram } from '../e2e/control-plane.ts';
import { eventually, freePorts } from '../e2e/process.ts';
import { shippedNodeFlags } from './shipped-flags.ts';

export interface StartedSetup {
  readonly configFile: string;
  /** Replaces the origin of the extender URLs in the configuration. */
  readonly extenderOrigin?: string;
  stop(): Promise<void>;
}

export interface SchedulerSetup {
  readonly name: string;
  start(plane: ControlPlane): Promise<StartedSetup>;
}

export interface ExtenderSetup {
  readonly name: string;
  /** Arguments to Node, with the two ports that the extender may take. */
  readonly args: (plane: ControlPlane, ports: ExtenderPorts) => readonly string[];
  /** Where it says that it is ready: `verbs` or `ops` listener, and the path. */
  readonly ready: { readonly listener: keyof ExtenderPorts; readonly path: string };
  /** Path before the verbs, such as `/v1`. */
  readonly prefix: string;
}

export interface ExtenderPorts {
  readonly verbs: number;
  readonly ops: number;
}

const TEST_DIR = join(import.meta.dirname, '..');
const READY_TIMEOUT_MILLIS = 60_000;
const CONFIG_HEAD = {
  apiVersion: 'kubescheduler.config.k8s.io/v1',
  kind: 'KubeSchedulerConfiguration',
  percentageOfNodesToScore: 100,
  profiles: [{ schedulerName: 'default-scheduler' }],
};

export const ALONE: SchedulerSetup = {
  name: 'alone',
  async start(plane) {
    const configFile = join(plane.dir, 'alone.yaml');
    await writeFile(configFile, stringify(CONFIG_HEAD));
    return { configFile, stop: () => Promise.resolve() };
  },
};

/** `narrow` 0 answers all names. */
export function yesSetup(narrow: number): SchedulerSetup {
  return extenderSetup({
    name: narrow === 0 ? 'yes to all' : `yes to ${narrow}`,
    args: (plane, ports) => [
      join(TEST_DIR, 'e2e/yes-extender.ts'),
      `--kubeconfig=${plane.kubeconfig('admin')}`,
      `--listen=127.0.0.1:${ports.verbs}`,
      `--narrow=${narrow}`,
    ],
    ready: { listener: 'verbs', path: '/healthz' },
    prefix: '',
  });
}

export function gpuloomSetup(narrow: number): SchedulerSetup {
  return extenderSetup({
    name: narrow === 0 ? 'gpuloom, no narrowing' : `gpuloom, narrow ${narrow}`,
    args: (plane, ports) => [
      ...shippedNodeFlags(),
      join(TEST_DIR, '../extender/main.ts'),
      `--kubeconfig=${plane.kubeconfig('admin')}`,
      `--listen=127.0.0.1:${ports.verbs}`,
      `--ops=127.0.0.1:${ports.ops}`,
      '--no-leader-election',
      `--narrow=${narrow}`,
    ],
    ready: { listener: 'ops', path: '/readyz' },
    prefix: '/v1',
  });
}

/** A setup that runs one extender as a process of this Node. */
export function extenderSetup(options: ExtenderSetup): SchedulerSetup {
  return {
    name: options.name,
    async start(plane) {
      const [verbs = 0, ops = 0] = await freePorts(2);
      const ports = { verbs, ops };
      const fileName = options.name.replaceAll(/\W+/g, '-');
      const extender = await plane.startProgram(`extender-${fileName}`, process.execPath, options.args(plane, ports));
      await untilReady(extender, `http://127.0.0.1:${ports[options.ready.listener]}${options.ready.path}`);
      const configFile = join(plane.dir, `${fileName}.yaml`);
      await writeFile(configFile, stringify({ ...CONFIG_HEAD, extenders: [stanza(options, verbs)] }));
      return { configFile, stop: () => extender.stop() };
    },
  };
}

function stanza(options: ExtenderSetup, port: number): Record<string, unknown> {
  return {
    urlPrefix: `http://127.0.0.1:${port}${options.prefix}`,
    filterVerb: 'filter',
    prioritizeVerb: 'prioritize',
    bindVerb: 'bind',
    weight: 100,
    httpTimeout: '10s',
    nodeCacheCapable: true,
    managedResources: [
      { name: 'gpuloom.io/gpu-mem', ignoredByScheduler: false },
      { name: 'gpuloom.io/gpu-core', ignoredByScheduler: false },
    ],
  };
}

async function untilReady(extender: RunningProgram, url: string): Promise<void> {
  const answers = async (): Promise<boolean> => {
    try {
      return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok;
    } catch (cause) {
      // Not listening yet, or not answering: ask again.
      if (cause instanceof Error) return false;
      throw cause;
    }
  };
  if (await eventually(answers, READY_TIMEOUT_MILLIS)) return;
  throw new Error(`${url} was not ready within ${READY_TIMEOUT_MILLIS} ms\n${await extender.logTail()}`);
}
