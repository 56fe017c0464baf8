import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findOwner } from '../../device-plugin/binding/owner.ts';
import { recoverGrants } from '../../device-plugin/recovery.ts';
import { gpusOf, pod } from '../support/builders.ts';
import { allocatedPod, ids, NodeStand } from '../support/node-stand.ts';

describe('late binding', () => {
  it('gives the container the GPU of its pod, whatever GPU its slice ids are from', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const record = allocatedPod({ name: 'p', slices: 4, core: 30 }, [1]);
    stand.show(record);
    stand.admit(record, 'main', ids(0, 4));
    await stand.late.preStart(ids(0, 4));
    expect(stand.specEnv(ids(0, 4))).toEqual({
      NVIDIA_VISIBLE_DEVICES: 'GPU-this-1',
      GPULOOM_GPU_INDICES: '1',
      GPULOOM_GPU_MEM_SLICES: '4',
      GPULOOM_GPU_MEM_MIB: '4096',
      GPULOOM_GPU_CORE_PERCENT: '30',
      GPULOOM_POD_UID: 'uid-default-p',
    });
  });

  it('answers Allocate from the ids alone, in any order of the ids', () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const answer = stand.late.allocate(['b', 'a']);
    expect(answer).toEqual(stand.late.allocate(['a', 'b']));
    expect(Object.values(answer)[0]).toMatch(/^gpuloom\.io\/gpu=[a-f0-9]{32}$/);
  });

  it('gives pods of several GPUs all of them', async () => {
    const stand = new NodeStand(gpusOf(4, 16));
    const record = allocatedPod({ name: 'p', slices: 8, count: 2 }, [3, 1]);
    stand.show(record);
    stand.admit(record, 'main', ids(0, 8));
    await stand.late.preStart(ids(0, 8));
    expect(stand.specEnv(ids(0, 8))).toMatchObject({
      NVIDIA_VISIBLE_DEVICES: 'GPU-this-1,GPU-this-3',
      GPULOOM_GPU_MEM_SLICES: '4',
    });
  });

  it('reads the pod live when the watch has not shown it', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'late', slices: 4 }, [0]);
    stand.unseen.push(record);
    stand.admit(record, 'main', ids(0, 4));
    await stand.late.preStart(ids(0, 4));
    expect([stand.liveReads, stand.specs.size]).toEqual([1, 1]);
  });

  it('finds init containers by the checkpoint alone, since old kubelets list none', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [0]);
    stand.show(record);
    stand.recorded.push({ podUid: record.uid, container: 'main', ids: ids(0, 4) });
    await stand.late.preStart(ids(0, 4));
    expect(stand.specs.size).toBe(1);
  });

  it.each<[string, (stand: NodeStand) => void, RegExp]>([
    ['nobody holds the ids yet', () => undefined, /names no holder of these 4 slices yet/],
    [
      'the pod came without an allocation',
      (stand) => {
        const record = pod({ name: 'bypass', slices: 4, nodeName: 'this' });
        stand.show(record);
        stand.admit(record, 'main', ids(0, 4));
      },
      /default\/bypass reached this node without an allocation; let the scheduler/,
    ],
    [
      'the allocation names a GPU of another node',
      (stand) => {
        const record = allocatedPod({ name: 'forged', slices: 4 }, [7]);
        stand.show(record);
        stand.admit(record, 'main', ids(0, 4));
      },
      /allocated GPU GPU-this-7, which this node does not have/,
    ],
    [
      'the allocation names fewer GPUs than the pod asks for',
      (stand) => {
        const record = allocatedPod({ name: 'forged', slices: 4, count: 2 }, [0]);
        stand.show(record);
        stand.admit(record, 'main', ids(0, 4));
      },
      /asks for 2 GPUs but its allocation names 1/,
    ],
    [
      'the kubelet gave another number of slices than the container asks for',
      (stand) => {
        const record = allocatedPod({ name: 'p', slices: 5 }, [0]);
        stand.show(record);
        stand.admit(record, 'main', ids(0, 4));
      },
      /asks for 5 slices but the kubelet gave it 4/,
    ],
    [
      'the two witnesses speak of different pods',
      (stand) => {
        const record = allocatedPod({ name: 'p', slices: 4 }, [0]);
        stand.show(record);
        stand.held.push({ namespace: 'default', pod: 'p', container: 'main', ids: ids(0, 4) });
        stand.recorded.push({ podUid: 'another', container: 'main', ids: ids(0, 4) });
      },
      /belong to pod another, but default\/p is now uid-default-p/,
    ],
  ])('refuses to start when %s, and says so', async (_, arrange, why) => {
    const stand = new NodeStand(gpusOf(2, 16));
    arrange(stand);
    await expect(stand.late.preStart(ids(0, 4))).rejects.toThrow(why);
    expect(stand.refusals[0]).toMatch(why);
    expect(stand.specs.size).toBe(0);
  });

  it('refuses what would put a GPU over its capacity, whatever the allocation says, and names the holder', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    for (const [at, name] of ['a', 'b'].entries()) {
      const record = allocatedPod({ name, slices: 10 }, [0]);
      stand.show(record);
      stand.admit(record, 'main', ids(0, 10, at * 10));
    }
    await stand.late.preStart(ids(0, 10));
    await expect(stand.late.preStart(ids(0, 10, 10))).rejects.toThrow(
      /6 of 16 slices .* needs 10 .* held by default\/a/,
    );
    stand.gone('uid-default-a');
    await stand.late.preStart(ids(0, 10, 10));
  });

  it('refuses a pod that requires isolation this node does not offer, until the node offers it', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4, annotations: { 'gpuloom.io/isolation': 'mps' } }, [0]);
    stand.show(record);
    stand.admit(record, 'main', ids(0, 4));
    await expect(stand.late.preStart(ids(0, 4))).rejects.toThrow(
      /requires isolation mps .* offers none; set isolation: mps for its agent/,
    );
    expect(stand.judge.isGranted(record.uid)).toBe(false);
    stand.offer('mps');
    await stand.late.preStart(ids(0, 4));
    expect(stand.judge.isGranted(record.uid)).toBe(true);
  });

  it('starts nothing while limits would not be enforced, a restarted container no more than a new one', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [0]);
    stand.show(record);
    stand.admit(record, 'main', ids(0, 4));
    const refused = async (): Promise<void> => {
      stand.unenforced = 'the daemon is gone';
      await expect(stand.late.preStart(ids(0, 4))).rejects.toThrow(/default\/p .* is not started: the daemon is gone$/);
      expect(stand.refusals.pop()).toMatch(/the daemon is gone$/);
      stand.unenforced = undefined;
    };
    await refused();
    expect([stand.judge.isGranted(record.uid), stand.specs.size]).toEqual([false, 0]);
    await stand.late.preStart(ids(0, 4));
    await refused();
    expect(stand.judge.isGranted(record.uid)).toBe(true);
  });

  it('gives a restarted container the same GPU, and refuses when its allocation was changed meanwhile', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [1]);
    stand.show(record);
    stand.admit(record, 'main', ids(0, 4));
    await stand.late.preStart(ids(0, 4));
    await stand.late.preStart(ids(0, 4));
    expect(stand.specEnv(ids(0, 4))?.['NVIDIA_VISIBLE_DEVICES']).toBe('GPU-this-1');
    stand.show(allocatedPod({ name: 'p', slices: 4 }, [0]));
    await expect(stand.late.preStart(ids(0, 4))).rejects.toThrow(
      /was granted GPU 1 before; its allocation was changed/,
    );
  });

  it('does not take the pod that had the name before for the holder, whatever the watch still shows', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    stand.show(allocatedPod({ name: 'web-0', uid: 'before', slices: 4 }, [0]));
    const now = allocatedPod({ name: 'web-0', uid: 'now', slices: 4 }, [1]);
    stand.unseen.push(now);
    stand.held.push({ namespace: 'default', pod: 'web-0', container: 'main', ids: ids(0, 4) });
    await stand.late.preStart(ids(0, 4));
    expect(stand.specEnv(ids(0, 4))).toMatchObject({ NVIDIA_VISIBLE_DEVICES: 'GPU-this-1', GPULOOM_POD_UID: 'now' });
  });

  it('has no device left for ids that go to another pod, before that pod is known', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [1]);
    stand.show(record);
    stand.admit(record, 'main', ids(0, 4));
    await stand.late.preStart(ids(0, 4));
    await stand.late.forget(ids(0, 4).reverse());
    expect(stand.specs.size).toBe(0);
  });

  it('starts nothing new on an unhealthy GPU, and leaves what runs there alone', async () => {
    const stand = new NodeStand(gpusOf(2, 16));
    const [running, late] = ['running', 'late'].map((name) => allocatedPod({ name, slices: 4 }, [0]));
    if (running === undefined || late === undefined) throw new Error('two pods');
    for (const [at, record] of [running, late].entries()) {
      stand.show(record);
      stand.admit(record, 'main', ids(1, 4, at * 4));
    }
    await stand.late.preStart(ids(1, 4));
    stand.ail(0);
    await stand.late.preStart(ids(1, 4));
    await expect(stand.late.preStart(ids(1, 4, 4))).rejects.toThrow(
      /default\/late is allocated GPU 0, which is unhealthy/,
    );
  });

  it('removes the specs of pods that are gone, and only those', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    for (const [at, name] of ['stays', 'goes'].entries()) {
      const record = allocatedPod({ name, slices: 4 }, [0]);
      stand.show(record);
      stand.admit(record, 'main', ids(0, 4, at * 4));
      await stand.late.preStart(ids(0, 4, at * 4));
    }
    stand.gone('uid-default-goes');
    expect(await stand.late.collect()).toBe(1);
    expect(stand.specEnv(ids(0, 4))?.['GPULOOM_POD_UID']).toBe('uid-default-stays');
  });

  it('gives each of many equal pods its own GPU in every order of admission and start', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8 }),
        fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8 }),
        async (admissions, starts) => {
          const stand = new NodeStand(gpusOf(8, 16));
          const records = admissions.map((gpu, at) => allocatedPod({ name: `p${at}`, slices: 2 }, [gpu]));
          for (const [at, record] of records.entries()) {
            stand.show(record);
            stand.admit(record, 'main', ids(at % 3, 2, at * 2));
          }
          await Promise.all(starts.map((at) => stand.late.preStart(ids(at % 3, 2, at * 2))));
          for (const [at, gpu] of admissions.entries()) {
            expect(stand.specEnv(ids(at % 3, 2, at * 2))?.['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-this-${gpu}`);
          }
        },
      ),
      { numRuns: 100, seed: 7 },
    );
  });
});

describe('recovery', () => {
  it('finds a pod of which only the checkpoint knows, as of an init container whose spec is lost', async () => {
    const stand = new NodeStand(gpusOf(1, 16));
    const record = allocatedPod({ name: 'p', slices: 4 }, [0]);
    stand.show(record);
    stand.recorded.push({ podUid: record.uid, container: 'main', ids: ids(0, 4) });
    const { judge, inventory } = stand;
    const deps = { witness: stand, pods: stand, specs: stand, judge, inventory: () => inventory };
    expect(await recoverGrants({ ...deps, report: () => undefined })).toBe(1);
    expect(judge.isGranted(record.uid)).toBe(true);
  });
});

describe('the owner of slice ids', () => {
  it('is not guessed where the kubelet names several pods', () => {
    const holding = { namespace: 'default', container: 'main', ids: ['x', 'y'] };
    const owner = findOwner(
      ['y', 'x'],
      [
        { ...holding, pod: 'a' },
        { ...holding, pod: 'b' },
      ],
      [],
    );
    expect(owner).toEqual({ kind: 'several', who: ['default/a', 'default/b'] });
  });

  it('is not guessed where the checkpoint has the ids twice, since the other may be an init container', () => {
    const recorded = (podUid: string) => ({ podUid, container: 'main', ids: ['x', 'y'] });
    const named = { namespace: 'default', pod: 'a', container: 'main', ids: ['x', 'y'] };
    const owner = findOwner(['x', 'y'], [named], [recorded('uid-b'), recorded('uid-a')]);
    expect(owner).toEqual({ kind: 'several', who: ['uid-a', 'uid-b'] });
  });

  it('is only who holds exactly these ids', () => {
    expect(findOwner(['x'], [{ namespace: 'd', pod: 'p', container: 'c', ids: ['x', 'y'] }], []).kind).toBe('nobody');
  });
});
