import { describe, expect, it } from 'vitest';
import { drift } from '../../extender/core/drift.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import { TestCluster } from '../support/application.ts';
import { gpusOf } from '../support/builders.ts';

const oneNode = [{ name: 'n', gpus: gpusOf(2, 16) }];
const twoNodes = ['n', 'm'].map((name) => ({ name, gpus: gpusOf(1, 16) }));

describe('bind', () => {
  it('commits node and allocation in one write and names the GPU in an event', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6, core: 40 });
    expect(await cluster.bind('p', 'n')).toBe('');
    expect(cluster.api.calls).toBe(1);
    expect(cluster.api.committed).toEqual([
      {
        uid: 'uid-default-p',
        nodeName: 'n',
        annotations: {
          'gpuloom.io/allocation':
            '{"v":1,"containers":[{"name":"main","gpus":[{"uuid":"GPU-n-0","index":0,"slices":6,"core":40}]}]}',
        },
      },
    ]);
    expect(cluster.free('n')).toEqual([10, 16]);
    expect(cluster.events).toMatchObject([
      { type: 'Normal', reason: 'GpuAllocated', message: 'placed on GPU 0 of node n' },
    ]);
  });

  it('answers the same pod bound again to the same node with success and no second write', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    await cluster.bind('p', 'n');
    expect(await cluster.bind('p', 'n')).toBe('');
    cluster.show('default', 'p');
    expect(await cluster.bind('p', 'n')).toBe('');
    expect(cluster.api.calls).toBe(1);
    expect(cluster.ends).toEqual(['bound', 'repeated', 'repeated']);
  });

  it('gives concurrent binds of one pod one answer and one write', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    expect(await Promise.all([1, 2, 3].map(() => cluster.bind('p', 'n')))).toEqual(['', '', '']);
    expect(cluster.api.calls).toBe(1);
  });

  it('refuses a pod that is already bound to another node', async () => {
    const cluster = new TestCluster(twoNodes);
    cluster.create({ name: 'p', slices: 6 });
    await cluster.bind('p', 'n');
    expect(await cluster.bind('p', 'm')).toMatch(/already bound to node n/);
    expect(cluster.free('m')).toEqual([16]);
  });

  it('never puts two concurrent pods into one hole', async () => {
    const cluster = new TestCluster(twoNodes.slice(0, 1));
    cluster.create({ name: 'p', slices: 10 });
    cluster.create({ name: 'q', slices: 10 });
    const answers = await Promise.all(['p', 'q'].map((name) => cluster.bind(name, 'n')));
    expect(answers).toEqual(['', 'node n: no GPU has 10 free slices (GpuMemory)']);
    expect(cluster.api.calls).toBe(1);
  });

  it('reads the pod live when the watch has not shown it yet', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 }, { seen: false });
    expect(await cluster.bind('p', 'n')).toBe('');
  });

  it('does not bind a pod that was re-created under the same name', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', uid: 'second', slices: 6 }, { seen: false });
    expect(await cluster.bind('p', 'n', 'first')).toMatch(/re-created under another uid/);
    expect(cluster.api.calls).toBe(0);
  });

  it('does not bind pods it does not manage, and answers incomplete calls with an error', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 0 }, { seen: false });
    expect(await cluster.bind('p', 'n')).toMatch(/asks for no gpuloom.io\/gpu-mem/);
    expect((await cluster.app.bind({ PodName: 'p' })).Error).toMatch(/names no pod, uid or node/);
    expect(cluster.api.calls).toBe(0);
  });

  it.each([['a definite refusal', 'forbidden' as const]])('releases the reservation after %s', async (_, fate) => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    cluster.api.nextFate = () => fate;
    expect(await cluster.bind('p', 'n')).toMatch(/403/);
    expect(cluster.free('n')).toEqual([16, 16]);
  });

  it('releases the reservation when the pod is gone or ending', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'gone' });
    cluster.api.remove('default', 'gone');
    expect(await cluster.bind('gone', 'n')).toMatch(/404/);
    cluster.create({ name: 'ending' });
    cluster.api.put({
      ...cluster.api.pod('default', 'ending'),
      metadata: { ...cluster.api.pod('default', 'ending')?.metadata, deletionTimestamp: 'now' },
    });
    expect(await cluster.bind('ending', 'n')).toMatch(/409/);
    expect(cluster.free('n')).toEqual([16, 16]);
  });

  it('finds out by a live read that a binding whose reply was lost has committed', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    cluster.api.nextFate = () => 'lost reply';
    expect(await cluster.bind('p', 'n')).toBe('');
    expect(cluster.ends).toEqual(['repeated']);
    expect(cluster.free('n')).toEqual([10, 16]);
  });

  it('answers before kube-scheduler gives up: what follows a slow binding gets only the time that is left', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    cluster.api.nextFate = () => 'lost request';
    cluster.api.turn = (label) => {
      if (label.startsWith('binding')) cluster.nowMillis += 3000;
      return Promise.resolve();
    };
    await cluster.bind('p', 'n');
    expect(cluster.api.limits).toEqual([3000, 1500]);
  });

  it('keeps the reservation while the outcome is unknown, and offers the same GPUs again on a retry', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    const fates = ['late' as const, 'ok' as const];
    cluster.api.nextFate = () => fates.shift() ?? 'ok';
    expect(await cluster.bind('p', 'n')).toMatch(/not known yet.*reservation is kept/);
    expect(cluster.free('n')).toEqual([10, 16]);
    cluster.create({ name: 'filler', slices: 10 });
    await cluster.bind('filler', 'n');
    expect(await cluster.bind('p', 'n')).toBe('');
    expect(
      cluster.api.committed.find(({ uid }) => uid === 'uid-default-p')?.annotations['gpuloom.io/allocation'],
    ).toContain('GPU-n-0');
    expect(cluster.free('n')).toEqual([0, 16]);
  });

  it('holds both places while a late binding and a retry to another node are in doubt, and ends with one', async () => {
    const cluster = new TestCluster(twoNodes);
    cluster.create({ name: 'p', slices: 6 });
    cluster.api.nextFate = () => 'late';
    await cluster.bind('p', 'n');
    cluster.api.nextFate = () => 'late';
    await cluster.bind('p', 'm');
    expect([cluster.free('n'), cluster.free('m')]).toEqual([[10], [10]]);
    cluster.api.commitLate();
    cluster.show('default', 'p');
    expect([cluster.free('n'), cluster.free('m')]).toEqual([[10], [16]]);
  });

  it('ends a doubtful reservation only when it is old and a live read shows the pod unbound', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 });
    cluster.api.nextFate = () => 'lost request';
    await cluster.bind('p', 'n');
    cluster.nowMillis += 89_000;
    expect(await cluster.app.sweep()).toBe(0);
    cluster.nowMillis += 2000;
    cluster.api.isReadable = false;
    expect(await cluster.app.sweep()).toBe(0);
    cluster.api.isReadable = true;
    expect(await cluster.app.sweep()).toBe(1);
    expect(cluster.free('n')).toEqual([16, 16]);
  });

  it('is refused where another replica came to lead while the pod was read', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p', slices: 6 }, { seen: false });
    cluster.api.turn = (what) => {
      cluster.refusal = `gpuloom is standby since the ${what}`;
      return Promise.resolve();
    };
    expect(await cluster.bind('p', 'n')).toBe('gpuloom is standby since the read of p');
    expect(cluster.api.calls).toBe(0);
    expect(cluster.free('n')).toEqual([16, 16]);
  });

  it('refuses while not answering, and says why', async () => {
    const cluster = new TestCluster(oneNode);
    cluster.create({ name: 'p' });
    cluster.refusal = 'gpuloom is standby: another replica holds the lease';
    expect(await cluster.bind('p', 'n')).toBe(cluster.refusal);
    expect(cluster.api.calls).toBe(0);
  });

  it('writes gpushare annotations beside ours in the gpushare profile', async () => {
    const cluster = new TestCluster(oneNode, { profile: PROFILES.gpushare });
    cluster.create({ name: 'p', slices: 6 });
    expect(await cluster.bind('p', 'n')).toBe('');
    expect(cluster.api.committed[0]?.annotations).toMatchObject({
      ALIYUN_COM_GPU_MEM_IDX: '0',
      ALIYUN_COM_GPU_MEM_DEV: '16',
      ALIYUN_COM_GPU_MEM_POD: '6',
      ALIYUN_COM_GPU_MEM_ASSIGNED: 'false',
      ALIYUN_COM_GPU_MEM_ASSUME_TIME: '1700000001000000000',
    });
    cluster.show('default', 'p');
    expect(drift(cluster.app.engine.ledger)).toEqual([]);
  });
});
