import { describe, expect, it } from 'vitest';
import { TestCluster } from '../support/application.ts';
import { gpusOf, podManifest, type PodSketch } from '../support/builders.ts';

const nodes = [
  { name: 'full', gpus: gpusOf(1, 16) },
  { name: 'small', gpus: gpusOf(1, 8) },
  { name: 'bare', gpus: [] },
];

async function refusals(sketch: PodSketch): Promise<unknown> {
  const cluster = new TestCluster(nodes);
  cluster.create({ name: 'resident', slices: 10 });
  await cluster.bind('resident', 'full');
  const { FailedNodes, FailedAndUnresolvableNodes } = cluster.app.filter({
    Pod: podManifest(sketch),
    NodeNames: nodes.map(({ name }) => name),
  });
  return { all: { ...FailedNodes }, unresolvable: { ...FailedAndUnresolvableNodes } };
}

describe('filter', () => {
  it('gives every refused node its reason where kube-scheduler before 1.21 reads it too', async () => {
    expect(await refusals({ name: 'p', slices: 12 })).toEqual({
      all: {
        full: 'no GPU has 12 free slices',
        small: 'no GPU is large enough for 12 slices',
        bare: 'fewer than 1 GPUs',
      },
      unresolvable: { small: 'no GPU is large enough for 12 slices', bare: 'fewer than 1 GPUs' },
    });
  });

  it('says on every node what contradicts itself in a request', async () => {
    const why = expect.stringContaining('gpuloom.io/gpu-count') as unknown;
    const everywhere = { full: why, small: why, bare: why };
    expect(await refusals({ name: 'p', slices: 5, count: 2 })).toEqual({ all: everywhere, unresolvable: everywhere });
  });
});
