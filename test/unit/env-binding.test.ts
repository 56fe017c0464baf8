import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BindingRefused } from '../../device-plugin/binding/refused.ts';
import type { Environment } from '../../device-plugin/binding/container-env.ts';
import type { PodRecord } from '../../extender/core/model.ts';
import { gpusOf } from '../support/builders.ts';
import { allocatedPod, ids, NodeStand } from '../support/node-stand.ts';

/** What Allocate answers, or undefined where it refuses. */
async function answerFor(stand: NodeStand, chosen: readonly string[]): Promise<Environment | undefined> {
  try {
    return await stand.env.allocate(chosen);
  } catch (error) {
    if (error instanceof BindingRefused) return undefined;
    throw error;
  }
}

/** An init container `first` with all of the pod's slices before `main` with half of them. */
function withInitContainer(record: PodRecord): PodRecord {
  if (record.demand.kind !== 'request') throw new Error('the pod asks for GPUs');
  const { request } = record.demand;
  const of = (name: string, role: 'init' | 'main', slicesPerGpu: number) => ({
    name,
    role,
    slicesPerGpu,
    corePerGpu: 0,
  });
  const containers = [of('first', 'init', request.slicesPerGpu), of('main', 'main', request.slicesPerGpu / 2)];
  return { ...record, demand: { kind: 'request', request: { ...request, containers } } };
}

describe('binding by environment', () => {
  const all = [0, 1].flatMap((gpu) => ids(gpu, 16));

  it('steers the ids to the GPU of the waiting container and answers with that GPU', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    stand.show(allocatedPod({ name: 'p', slices: 4 }, [1]));
    const chosen = await stand.env.prefer({ available: all, mustInclude: [], size: 4 });
    expect(chosen.every((id) => id.startsWith('GPU-this-1::'))).toBe(true);
    expect((await stand.env.allocate(chosen))['NVIDIA_VISIBLE_DEVICES']).toBe('GPU-this-1');
  });

  it('steers as many ids to each GPU as the container holds there, counting those that must be included', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    stand.show(allocatedPod({ name: 'p', slices: 8, count: 2 }, [0, 1]));
    const mustInclude = [...ids(0, 1), ...ids(1, 1)];
    const chosen = await stand.env.prefer({ available: all, mustInclude, size: 8 });
    expect([0, 1].map((gpu) => chosen.filter((id) => id.startsWith(`GPU-this-${gpu}`)).length)).toEqual([4, 4]);
  });

  it('answers for any ids of an init container of the same pod, though they are not even over its GPUs', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const record = withInitContainer(allocatedPod({ name: 'p', slices: 8, count: 2 }, [0, 1]));
    stand.show(record);
    const first = [...ids(0, 4), ...ids(1, 4)];
    stand.admit(record, 'first', first, await stand.env.allocate(first));
    const reused = [...ids(0, 3), ...ids(1, 1)];
    stand.admit(record, 'main', reused, await stand.env.allocate(reused));
    await stand.env.preStart(first);
    const claim = await stand.env.preStart(reused);
    expect(claim).toMatchObject({ container: 'main', slicesPerGpu: 2 });
  });

  it('never fails to prefer, whatever it is asked', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string()),
        fc.array(fc.string()),
        fc.integer({ min: -3, max: 20 }),
        async (available, mustInclude, size) => {
          const stand = new NodeStand(gpusOf(2, 16));
          stand.show(allocatedPod({ name: 'p', slices: 4 }, [1]));
          const preferred = await stand.env.prefer({ available, mustInclude, size });
          return preferred.length <= Math.max(size, mustInclude.length);
        },
      ),
      { numRuns: 200, seed: 8 },
    );
  });

  it('refuses to answer when it cannot tell whose the slices are, and names those who wait', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    stand.show(allocatedPod({ name: 'a', slices: 4 }, [0]));
    stand.show(allocatedPod({ name: 'b', slices: 4 }, [1]));
    const mixed = [...ids(0, 2), ...ids(1, 2)];
    await expect(stand.env.allocate(mixed)).rejects.toThrow(/cannot tell whose 4 slices.*default\/a .*default\/b/);
    await expect(stand.env.allocate(ids(0, 3))).rejects.toThrow(
      /no pod on this node with an allocation waits for 3 slices$/,
    );
  });

  it('says that the GPU of who waits is full, and who holds it', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const holder = allocatedPod({ name: 'holder', slices: 14 }, [1]);
    stand.show(holder);
    stand.admit(holder, 'main', ids(1, 14), await stand.env.allocate(ids(1, 14)));
    await stand.env.preStart(ids(1, 14));
    stand.show(allocatedPod({ name: 'late', slices: 4 }, [1]));
    const chosen = await stand.env.prefer({ available: [...ids(0, 16), ...ids(1, 2, 14)], mustInclude: [], size: 4 });
    await expect(stand.env.allocate(chosen)).rejects.toThrow(
      /default\/late .* on GPU 1, but GPU 1 has 2 of 16 slices .* held by default\/holder/,
    );
  });

  it('says which pod waits in vain, and why', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    stand.show(allocatedPod({ name: 'forged', slices: 4 }, [7]));
    await expect(stand.env.allocate(ids(0, 4))).rejects.toThrow(
      /waits for 4 slices: pod default\/forged is allocated GPU GPU-this-7, which this node does not have/,
    );
    expect(await stand.env.lookAhead(4)).toBe(false);
    expect(await stand.env.lookAhead(5)).toBe(true);
  });

  it('knows a pod from the API server that the watch has yet to show', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const record = allocatedPod({ name: 'late', slices: 4 }, [1]);
    stand.unseen.push(record);
    expect(await stand.env.isAwaited(4)).toBe(false);
    expect(await stand.env.lookAhead(4)).toBe(true);
    const chosen = await stand.env.prefer({ available: all, mustInclude: [], size: 4 });
    stand.admit(record, 'main', chosen, await stand.env.allocate(chosen));
    expect((await stand.env.preStart(chosen)).gpus.map(({ index }) => index)).toEqual([1]);
  });

  it('answers no pod that requires isolation this node does not offer, and starts none when it no longer does', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4, annotations: { 'gpuloom.io/isolation': 'mps' } }, [0]);
    stand.show(record);
    await expect(stand.env.allocate(ids(0, 4))).rejects.toThrow(/requires isolation mps/);
    stand.offer('mps');
    await stand.env.allocate(ids(0, 4));
    stand.admit(record, 'main', ids(0, 4));
    stand.offer('none');
    await expect(stand.env.preStart(ids(0, 4))).rejects.toThrow(/this node offers none/);
  });

  it('starts nothing while limits would not be enforced, though it answers', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [0]);
    stand.show(record);
    stand.unenforced = 'the daemon is gone';
    stand.admit(record, 'main', ids(0, 4), await stand.env.allocate(ids(0, 4)));
    await expect(stand.env.preStart(ids(0, 4))).rejects.toThrow(/default\/p .* is not started: the daemon is gone$/);
    expect(stand.judge.isGranted(record.uid)).toBe(false);
    stand.unenforced = undefined;
    await stand.env.preStart(ids(0, 4));
  });

  it('refuses to start a container that was admitted with the answer meant for another, naming both', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const [a, b] = [allocatedPod({ name: 'a', slices: 4 }, [0]), allocatedPod({ name: 'b', slices: 4 }, [1])];
    stand.show(a);
    stand.show(b);
    stand.admit(b, 'main', ids(0, 4), await stand.env.allocate(ids(0, 4)));
    for (const _ of ['first', 'again'])
      await expect(stand.env.preStart(ids(0, 4))).rejects.toThrow(/admitted default\/b .* meant for default\/a/);
  });

  it('lets one wrong answer cost one container: whom it was meant for waits on, and who got it waits no more', async () => {
    const stand = new NodeStand(gpusOf(3, 16));
    const records = [0, 1, 2].map((gpu) => allocatedPod({ name: `p${gpu}`, slices: 4 }, [gpu]));
    const [a, b, c] = records;
    if (a === undefined || b === undefined || c === undefined) throw new Error('three pods');
    for (const record of records) stand.show(record);
    stand.admit(b, 'main', ids(0, 4), await stand.env.allocate(ids(0, 4)));
    for (const [gpu, record] of [a, undefined, c].entries()) {
      if (record === undefined) continue;
      const available = [0, 1, 2].flatMap((each) => ids(each, 4, 4));
      const chosen = await stand.env.prefer({ available, mustInclude: [], size: 4 });
      stand.admit(record, 'main', chosen, await stand.env.allocate(chosen));
      expect((await stand.env.preStart(chosen)).gpus.map(({ index }) => index)).toEqual([gpu]);
    }
  });

  it.each<[string, Environment, RegExp | undefined]>([
    ['the same GPU and amounts', { NVIDIA_VISIBLE_DEVICES: 'GPU-this-1', GPULOOM_GPU_MEM_SLICES: '4' }, undefined],
    ['the same GPU by index, from gpushare', { NVIDIA_VISIBLE_DEVICES: '1', ALIYUN_COM_GPU_MEM_IDX: '1' }, undefined],
    ['another GPU', { NVIDIA_VISIBLE_DEVICES: 'GPU-this-0', GPULOOM_GPU_MEM_SLICES: '4' }, /is "GPU-this-0"/],
    ['two GPUs', { NVIDIA_VISIBLE_DEVICES: 'GPU-this-1,GPU-this-0' }, /is "GPU-this-1,GPU-this-0"/],
    ['no GPU', {}, /NVIDIA_VISIBLE_DEVICES is ""/],
    [
      'more compute',
      { NVIDIA_VISIBLE_DEVICES: 'GPU-this-1', GPULOOM_GPU_MEM_SLICES: '4', GPULOOM_GPU_CORE_PERCENT: '80' },
      /GPULOOM_GPU_CORE_PERCENT is 80/,
    ],
  ])('after a restart, goes by what the kubelet recorded: %s', async (_, recorded, refusal) => {
    const stand = new NodeStand(gpusOf(2, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [1]);
    stand.show(record);
    stand.admit(record, 'main', ids(1, 4), recorded);
    const started = stand.env.preStart(ids(1, 4));
    if (refusal === undefined) await started;
    else await expect(started).rejects.toThrow(refusal);
  });

  it('starts neither of two containers with the same ids when one of them was admitted with a wrong answer', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4, core: 20 }, [0]);
    stand.show(record);
    const right = { NVIDIA_VISIBLE_DEVICES: 'GPU-this-0', GPULOOM_GPU_MEM_SLICES: '4', GPULOOM_GPU_CORE_PERCENT: '20' };
    stand.admit(record, 'main', ids(0, 4), right);
    const wrong = Buffer.from(JSON.stringify({ ...right, GPULOOM_GPU_CORE_PERCENT: '90' }));
    stand.recorded.push({ podUid: record.uid, container: 'app', ids: ids(0, 4), allocation: wrong });
    await expect(stand.env.preStart(ids(0, 4))).rejects.toThrow(/GPULOOM_GPU_CORE_PERCENT is 90/);
  });

  it('goes by the ids where neither the kubelet nor the agent remembers an answer', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const [a, b] = [allocatedPod({ name: 'a', slices: 4 }, [1]), allocatedPod({ name: 'b', slices: 4 }, [1])];
    for (const [record, chosen] of [
      [a, ids(1, 4)],
      [b, ids(0, 4)],
    ] as const) {
      stand.show(record);
      stand.admit(record, 'main', chosen);
    }
    await stand.env.preStart(ids(1, 4));
    await expect(stand.env.preStart(ids(0, 4))).rejects.toThrow(/default\/b .* with slices of other GPUs/);
  });

  it('does not start a pod with the answer to another because a gone pod of its name had that GPU', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    stand.show(allocatedPod({ name: 'other', slices: 4 }, [0]));
    const answer = await stand.env.allocate(ids(0, 4));
    const now = allocatedPod({ name: 'web-0', uid: 'now', slices: 4 }, [1]);
    stand.show(allocatedPod({ name: 'web-0', uid: 'before', slices: 4 }, [0]));
    stand.admit(now, 'main', ids(0, 4), answer);
    stand.unseen.push(now);
    await expect(stand.env.preStart(ids(0, 4))).rejects.toThrow(/meant for default\/other/);
  });

  it('never starts a container on another GPU than its own, in any order of admission', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }),
        fc.array(fc.nat(3), { minLength: 6, maxLength: 6 }),
        fc.boolean(),
        async (order, gpus, hasRecord) => {
          const stand = new NodeStand(gpusOf(4, 16));
          const records = gpus.map((gpu, at) => allocatedPod({ name: `p${at}`, slices: 2 }, [gpu]));
          for (const record of records) stand.show(record);
          const free = new Set([0, 1, 2, 3].flatMap((gpu) => ids(gpu, 16)));
          for (const at of order) {
            const record = records[at];
            if (record === undefined) continue;
            const chosen = await stand.env.prefer({ available: [...free], mustInclude: [], size: 2 });
            for (const id of chosen) free.delete(id);
            const answer = await answerFor(stand, chosen);
            if (answer === undefined) continue;
            stand.admit(record, 'main', chosen, hasRecord ? answer : undefined);
            const started = await stand.env.preStart(chosen).then(
              () => true,
              () => false,
            );
            if (started) expect(answer['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-this-${gpus[at]}`);
          }
        },
      ),
      { numRuns: 100, seed: 9 },
    );
  });
});
