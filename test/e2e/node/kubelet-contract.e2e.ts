// What a real kubelet does with a device plugin: when it calls, with what, and what a container gets in the end. The
// plugin's kubelet side is gpuloom's own; its decisions are the test's. Tests build on each other, in this order.

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';

import type { ApiObject } from '../api.ts';
import { requireBinaries } from '../binaries.ts';
import type { LiveNode } from '../cluster.ts';
import type { ControlPlane } from '../control-plane.ts';
import { startControlPlane } from '../control-plane.ts';
import { eventually } from '../process.ts';
import {
  PRINT_ENVIRONMENT,
  containerStatus,
  createNodePod,
  deleteNodePod,
  environmentOf,
  isRunningPod,
  untilPod,
} from './containers.ts';
import type { NodeContainer, NodePod, PodOnNode } from './containers.ts';
import { nodeBinariesOrSkip } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';
import { startNode } from './node.ts';
import type { RealNode } from './node.ts';
import { RecordedPlugin, slices } from './recorded-plugin.ts';

const RESOURCE = 'gpuloom.io/gpu-mem';
const binaries = await nodeBinariesOrSkip();

describe.skipIf(binaries === undefined)('a device plugin under a real kubelet', () => {
  let plane: ControlPlane;
  let node: RealNode;
  let plugin: RecordedPlugin;

  const onNode = (
    name: string,
    containers: readonly NodeContainer[],
    more: Partial<NodePod> = {},
  ): Promise<ApiObject> => createNodePod(plane.admin, { name, nodeName: 'node-a', containers, ...more });
  const untilWaiting = async (pod: string, reason: string): Promise<string | undefined> => {
    const waitsFor = (status: PodOnNode) => containerStatus(status, 'main')?.state?.waiting;
    return waitsFor(await untilPod(plane.admin, pod, (status) => waitsFor(status)?.reason === reason))?.message;
  };
  const untilSlices = async (list: 'capacity' | 'allocatable', count: string): Promise<void> => {
    let seen: unknown;
    const shown = await eventually(async () => {
      const { status } = await plane.admin.get<LiveNode>('/api/v1/nodes/node-a');
      seen = status?.[list]?.[RESOURCE];
      return seen === count;
    }, 20_000);
    if (!shown) throw new Error(`the node's ${list} of ${RESOURCE} is ${String(seen)} and not ${count}`);
  };

  beforeAll(async () => {
    plane = await startControlPlane({ binaries: await requireBinaries() });
    node = await startNode(plane, { name: 'node-a', runtime: 'containerd-1.7', binaries: binaries as NodeBinaries });
    plugin = new RecordedPlugin(node, RESOURCE);
  });
  afterAll(async () => {
    await plugin?.stop();
    await node?.stop();
    await plane?.stop();
  });
  beforeEach(() => {
    onTestFailed(async () => {
      console.error(JSON.stringify({ calls: plugin.calls, events: plugin.events.slice(-20) }, undefined, 1));
      console.error(await node.logTails());
    });
  });

  test('is registered, and its slices become capacity of the node', async () => {
    plugin.announce(slices(640));
    await untilSlices('capacity', '640');
    await untilSlices('allocatable', '640');
    expect(plugin.registrations).toBe(1);
  });

  test('is asked for both containers of a pod before either starts, and then knows which one holds what', async () => {
    const created = await onNode('two', [container('c1', 5), container('c2', 5)]);
    await untilPod(plane.admin, 'two', isRunningPod);
    expect(plugin.callsAbout(5)).toEqual([
      { kind: 'prefer', available: 640, mustInclude: 0, size: 5 },
      { kind: 'allocate', ids: ids(0, 5) },
      { kind: 'prefer', available: 635, mustInclude: 0, size: 5 },
      { kind: 'allocate', ids: ids(5, 5) },
      { kind: 'start', ids: ids(0, 5), holders: ['default/two/c1'] },
      { kind: 'start', ids: ids(5, 5), holders: ['default/two/c2'] },
    ]);
    const first = { SLICES: ids(0, 5).join(), HOLDERS: 'default/two/c1' };
    const second = { SLICES: ids(5, 5).join(), HOLDERS: 'default/two/c2' };
    expect(await environmentOf(node, created, 'c1')).toMatchObject(first);
    expect(await environmentOf(node, created, 'c2')).toMatchObject(second);
  });

  test('is not asked again for a container that restarts, but told of every start', async () => {
    await onNode('looping', [{ ...container('main', 6), script: `${PRINT_ENVIRONMENT}; false` }]);
    await untilPod(plane.admin, 'looping', (pod) => (containerStatus(pod, 'main')?.restartCount ?? 0) >= 1);
    const calls = plugin.callsAbout(6);
    expect(calls.map(({ kind }) => kind)).toEqual(['prefer', 'allocate', 'start', 'start']);
    expect(calls[3]).toEqual(calls[2]);
    await plane.admin.delete('/api/v1/namespaces/default/pods/looping');
  });

  test('sees the ids of an init container again in the containers, and no holder while it starts', async () => {
    const initContainers = [{ ...container('before', 4), script: PRINT_ENVIRONMENT }];
    await onNode('initial', [container('main', 3), container('side', 2)], { initContainers });
    await untilPod(plane.admin, 'initial', isRunningPod);
    const [before, main, side] = [4, 3, 2].map((size) => idsAllocated(plugin, size));
    expect(before).toEqual(expect.arrayContaining([...(main ?? [])]));
    // The one id that the first container left over, and a new one.
    expect(side?.filter((id) => before?.includes(id))).toHaveLength(1);
    expect(plugin.callsAbout(3).map(({ kind }) => kind)).toEqual(['allocate', 'start']);
    expect(plugin.callsAbout(2)[0]).toMatchObject({ kind: 'prefer', mustInclude: 1, size: 2 });
    expect(plugin.callsAbout(4).at(-1)).toEqual({ kind: 'start', ids: before, holders: [] });
    expect(plugin.callsAbout(3).at(-1)).toEqual({ kind: 'start', ids: main, holders: ['default/initial/main'] });
  });

  test('may refuse a start or be late with the device: the kubelet starts the container later', async () => {
    const refusal = 'this GPU is full';
    plugin.behaviour.onStart = ({ length }) => (length === 7 ? 'leave the device out' : { refuse: refusal });
    const late = await onNode('late', [container('main', 7)]);
    await onNode('full', [container('main', 8)]);
    expect(await untilWaiting('late', 'CreateContainerError')).toContain('unresolvable CDI devices');
    expect(await untilWaiting('full', 'CreateContainerConfigError')).toContain(refusal);

    plugin.behaviour.onStart = () => 'write the device';
    await untilPod(plane.admin, 'late', isRunningPod);
    await untilPod(plane.admin, 'full', isRunningPod);
    expect(await environmentOf(node, late, 'main')).toMatchObject({ HOLDERS: 'default/late/main' });
    for (const size of [7, 8]) {
      const [prefer, allocate, ...starts] = plugin.callsAbout(size).map(({ kind }) => kind);
      expect([prefer, allocate]).toEqual(['prefer', 'allocate']);
      expect(starts.length).toBeGreaterThan(1);
      expect(new Set(starts)).toEqual(new Set(['start']));
    }
  });

  test('fails a pod for good by refusing its allocation, in its own words', async () => {
    plugin.behaviour.refuseAllocation = () => 'no GPU was chosen for this pod';
    await onNode('refused', [container('main', 9)]);
    const { status } = await untilPod(plane.admin, 'refused', (pod) => pod.status?.phase === 'Failed');
    plugin.behaviour.refuseAllocation = () => undefined;
    expect(status).toMatchObject({ reason: 'UnexpectedAdmissionError' });
    expect(status?.message).toContain('no GPU was chosen for this pod');
  });

  test('registers again with a kubelet that was killed, which knows all its containers still', async () => {
    await node.killKubelet();
    await node.startKubelet();
    expect(await eventually(async () => plugin.registrations > 1, 20_000)).toBe(true);
    await onNode('new', [container('main', 10)]);
    await untilPod(plane.admin, 'new', isRunningPod);
    expect(idsAllocated(plugin, 10)?.filter((id) => ids(0, 10).includes(id))).toEqual([]);
    expect(await plugin.holders(ids(0, 5))).toEqual(['default/two/c1']);
    const pod = await untilPod(plane.admin, 'two', isRunningPod);
    expect(containerStatus(pod, 'c1')?.restartCount).toBe(0);
  });

  test('takes its slices from the allocatable ones when it goes or a GPU fails, and gives them back', async () => {
    plugin.announce(slices(640).map((device, index) => ({ ...device, healthy: index >= 320 })));
    await untilSlices('allocatable', '320');
    await plugin.stop();
    await untilSlices('allocatable', '0');
    await untilSlices('capacity', '640');
    plugin = new RecordedPlugin(node, RESOURCE);
    plugin.announce(slices(640));
    await untilSlices('allocatable', '640');
  });

  test('gets the slices of a deleted pod offered again', async () => {
    await deleteNodePod(plane.admin, 'two');
    await onNode('next', [container('main', 11)]);
    await untilPod(plane.admin, 'next', isRunningPod);
    expect(idsAllocated(plugin, 11)).toEqual(expect.arrayContaining([...ids(0, 10)]));
  });
});

function container(name: string, size: number): NodeContainer {
  return { name, limits: { [RESOURCE]: String(size) } };
}

function ids(first: number, count: number): readonly string[] {
  return slices(first + count)
    .slice(first)
    .map(({ id }) => id);
}

function idsAllocated(plugin: RecordedPlugin, size: number): readonly string[] | undefined {
  const call = plugin.callsAbout(size).find(({ kind }) => kind === 'allocate');
  return call?.kind === 'allocate' ? call.ids : undefined;
}
