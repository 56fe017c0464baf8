// The demo's cluster and arrivals: the same for the same seed, and what the extender would accept.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { gpuDemand } from '../../extender/core/request.ts';
import { nodeRecord } from '../../extender/core/records.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import { readFlags } from '../../extender/demo/flags.ts';
import { seededNodes } from '../../extender/demo/gpu-nodes.ts';
import { openbNodes, openbWorkload, readOpenb, TraceFault } from '../../extender/demo/openb.ts';
import { paceFor } from '../../extender/demo/pace.ts';
import { seededRandom, shuffled } from '../../extender/random.ts';
import { seededWorkload, type Arrival, type Workload } from '../../extender/demo/workload.ts';

function take(workload: Workload, count: number): Arrival[] {
  return Array.from({ length: count }, () => workload.next()).filter((arrival) => arrival !== undefined);
}

function namesOf(arrivals: readonly Arrival[]): (string | undefined)[] {
  return arrivals.map(({ pod }) => pod.metadata?.name);
}

describe('seeded chance', () => {
  it('gives the same numbers for the same seed and stream, and others for another', () => {
    const draw = (seed: number, stream: string): number[] => {
      const random = seededRandom(seed, stream);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(draw(1, 'pods')).toEqual(draw(1, 'pods'));
    expect(draw(1, 'pods')).not.toEqual(draw(2, 'pods'));
    expect(draw(1, 'pods')).not.toEqual(draw(1, 'nodes'));
  });

  it('stays in its bounds and shuffles without losing anything', () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.integer(), { maxLength: 30 }), (seed, items) => {
        const random = seededRandom(seed, 'bounds');
        const number = random.between(3, 7);
        expect(number).toBeGreaterThanOrEqual(3);
        expect(number).toBeLessThanOrEqual(7);
        expect(random.gap()).toBeGreaterThanOrEqual(0);
        const ascending = (a: number, b: number): number => a - b;
        expect(shuffled(items, random).sort(ascending)).toEqual([...items].sort(ascending));
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});

describe('the generated cluster', () => {
  it('is the same for the same seed and has nodes the extender takes', () => {
    const nodes = seededNodes(3, 40);
    expect(nodes).toEqual(seededNodes(3, 40));
    expect(nodes).not.toEqual(seededNodes(4, 40));
    expect(new Set(nodes.map(({ metadata }) => metadata?.name)).size).toBe(40);
    for (const node of nodes) expect(nodeRecord(node)?.gpus.kind).toBe('inventory');
  });

  it('has a node with unequal GPUs from two nodes on, and announces the sum of its slices', () => {
    const records = seededNodes(1, 2).map(nodeRecord);
    const modelsPerNode = records.map((record) =>
      record?.gpus.kind === 'inventory' ? new Set(record.gpus.inventory.gpus.map(({ model }) => model)).size : 0,
    );
    expect(Math.max(...modelsPerNode)).toBe(2);
    for (const node of seededNodes(1, 6)) {
      const { gpus } = nodeRecord(node) ?? {};
      const slices = gpus?.kind === 'inventory' ? gpus.inventory.gpus.reduce((sum, gpu) => sum + gpu.slices, 0) : -1;
      expect(node.status?.capacity?.['gpuloom.io/gpu-mem']).toBe(String(slices));
    }
  });
});

describe('the generated workload', () => {
  it('repeats for the same seed, with names of their own', () => {
    expect(take(seededWorkload(5), 300)).toEqual(take(seededWorkload(5), 300));
    expect(take(seededWorkload(5), 300)).not.toEqual(take(seededWorkload(6), 300));
    expect(new Set(namesOf(take(seededWorkload(5), 300))).size).toBe(300);
  });

  it('has online and batch pods, pods of several GPUs, and every kind of flawed pod within 200', () => {
    const demands = take(seededWorkload(1), 200).map(({ pod }) => gpuDemand(pod, PROFILES.gpuloom));
    const requests = demands.flatMap((demand) => (demand.kind === 'request' ? [demand.request] : []));
    expect(new Set(requests.map((request) => request.class))).toEqual(new Set(['online', 'batch']));
    expect(requests.some(({ gpuCount }) => gpuCount > 1)).toBe(true);
    expect(demands.filter(({ kind }) => kind === 'invalid')).toHaveLength(3);
    expect(requests.filter(({ slicesPerGpu }) => slicesPerGpu > 80)).toHaveLength(1);
    expect(demands.some(({ kind }) => kind === 'none')).toBe(false);
  });

  it('arrives fast enough to fill any cluster, but never faster than the process can place pods', () => {
    const sample = take(seededWorkload(1), 200);
    const small = paceFor(100, sample);
    const large = paceFor(10_000_000, sample);
    expect(small.perSecond).toBeLessThan(large.perSecond);
    expect(large.perSecond).toBeLessThanOrEqual(40);
    // What arrives less often runs longer, so that the load is the same.
    expect(large.millisPerMinute).toBeGreaterThan(small.millisPerMinute);
  });
});

describe('the openb trace', () => {
  let folder = '';
  const nodeHead = 'sn,cpu_milli,memory_mib,gpu,model';
  const podHead =
    'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time';
  const write = (nodes: readonly string[], pods: readonly string[]): void => {
    writeFileSync(join(folder, 'openb_node_list_gpu_node.csv'), [...nodes, ''].join('\n'));
    writeFileSync(join(folder, 'openb_pod_list_default.csv'), [...pods, ''].join('\n'));
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gpuloom-openb-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('becomes nodes of 1000 slices a GPU and pods in the extender’s own words', () => {
    write(
      [nodeHead, 'openb-node-0000,64000,262144,2,P100', 'openb-node-0001,96000,393216,8,G2'],
      [
        podHead,
        'openb-pod-0000,12000,16384,1,460,T4|P100,LS,Running,0,600,0',
        'openb-pod-0001,8000,30517,4,1000,,BE,Running,0,60000,',
        'openb-pod-0002,1000,1024,0,0,,BE,Running,0,1,0',
      ],
    );
    const trace = readOpenb(folder);
    expect(trace.nodes.map(({ status }) => status?.capacity?.['gpuloom.io/gpu-mem'])).toEqual(['2000', '8000']);
    expect(openbNodes(trace, 1, 1)).toHaveLength(1);
    const pods = new Map(take(openbWorkload(trace, 1), 3).map(({ pod }) => [pod.metadata?.name, pod]));
    const demandOf = (name: string) => gpuDemand(pods.get(name) ?? {}, PROFILES.gpuloom);
    expect(demandOf('openb-pod-0000')).toMatchObject({
      kind: 'request',
      request: {
        slicesPerGpu: 460,
        gpuCount: 1,
        class: 'online',
        models: { allow: ['P100', 'T4'] },
        host: { cpuMilli: 12000 },
      },
    });
    expect(demandOf('openb-pod-0001')).toMatchObject({
      kind: 'request',
      request: { slicesPerGpu: 1000, gpuCount: 4, class: 'batch' },
    });
    expect(demandOf('openb-pod-0002').kind).toBe('none');
    expect(trace.pods.map(({ runMinutes }) => runMinutes)).toEqual([10, 120, 1]);
  });

  it('comes round again under new names when more pods are asked for than it has', () => {
    write([nodeHead, 'n,1,1,1,T4'], [podHead, 'a,1,1,1,500,,LS,,,,', 'b,1,1,1,500,,LS,,,,']);
    expect(new Set(namesOf(take(openbWorkload(readOpenb(folder), 1), 4)))).toEqual(
      new Set(['a', 'b', 'a-again-1', 'b-again-1']),
    );
  });

  it.each([
    ['a missing folder', [], [], /no openb_node_list_gpu_node\.csv/],
    ['a file without its heading', ['openb-node-0000,1,1,1,T4'], [podHead], /node_list_gpu_node\.csv:1: no column sn/],
    [
      'a number that is none',
      [nodeHead, 'n,many,1,1,T4'],
      [podHead],
      /:2: cpu_milli is "many"; expected a whole number/,
    ],
    ['more than a whole GPU', [nodeHead], [podHead, 'a,1,1,1,1001,,LS,,,,'], /:2: gpu_milli is "1001".*1 to 1000/],
    ['a name that Kubernetes refuses', [nodeHead], [podHead, 'A_b,1,1,1,100,,LS,,,,'], /name is "A_b"/],
  ])('says where it is wrong: %s', (_case, nodes, pods, message) => {
    if (nodes.length > 0) write(nodes, pods);
    expect(() => readOpenb(folder)).toThrow(TraceFault);
    expect(() => readOpenb(folder)).toThrow(message);
  });
});

describe('flags', () => {
  it('have defaults that need no other', () => {
    expect(readFlags([])).toEqual({
      kind: 'flags',
      flags: {
        once: false,
        json: false,
        seed: 1,
        nodes: undefined,
        pods: undefined,
        policy: 'fragmentation',
        trace: undefined,
      },
    });
  });

  it.each([
    [['--nodes', 'x'], '--nodes: "x" is not a whole number from 1 to 5000; for example --nodes 20'],
    [['--pods', '0'], '--pods: "0" is not a whole number from 1 to 1000000; for example --pods 500'],
    [['--seed'], '--seed: a value is missing; --help shows its form'],
    [
      ['--policy', 'binpak'],
      '--policy: "binpak" is not one of fragmentation, binpack, spread, topology; did you mean binpack?',
    ],
    [['--json'], '--json: the continuous demo has no end to report; add --once'],
    [['--node', '3'], '--node: unknown flag; did you mean --nodes?; --help lists all'],
    [['once'], 'once: unexpected argument; every setting is a flag, --help lists all'],
    [['--once=yes'], '--once: takes no value; write it alone'],
  ])('%j are refused with how to mend them', (argv, error) => {
    expect(readFlags(argv)).toEqual({ kind: 'errors', errors: [error] });
  });

  it('tell all their faults at once, and help wins over faults', () => {
    const result = readFlags(['--nodes', 'x', '--pods', 'y']);
    expect(result.kind === 'errors' ? result.errors : []).toHaveLength(2);
    expect(readFlags(['--nodes', 'x', '--help']).kind).toBe('help');
  });
});
