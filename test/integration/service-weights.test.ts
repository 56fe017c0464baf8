// The weights in the configuration file are those that a whole extender places by, as it prints them.

import { expect, it } from 'vitest';
import { loadConfig } from '../../extender/config.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { startService } from '../../extender/service.ts';
import { configSnippet } from '../../simulator/tune/snippet.ts';
import { gpusOf, node, pod } from '../support/builders.ts';
import { recordingLog } from '../support/http-shell.ts';

it('an extender places by the weights of the snippet in its configuration file', async () => {
  const weights = { gpuCountExponent: 2, cpuWeight: 0.3, stepPods: 0.5 };
  const loaded = loadConfig({
    argv: ['--cluster=embedded', '--listen=127.0.0.1:0', '--ops=127.0.0.1:0', '--config=tuned.yaml'],
    env: { POD_NAMESPACE: 'gpuloom-system' },
    readFile: () => configSnippet(weights),
    version: 'test',
  });
  if (loaded.kind !== 'config') throw new Error(JSON.stringify(loaded));
  expect(loaded.effective).toContain('weights.gpuCountExponent: 2  # tuned.yaml:2');
  const server = new EmbeddedApiServer();
  const target = { kind: 'loopback', server: await server.listen() } as const;
  const { log } = recordingLog();
  const service = await startService({ config: loaded.config, cluster: 'embedded', target, version: 'test', log });
  try {
    const { engine } = service.app;
    engine.ledger.upsertNode(node({ name: 'n', gpus: gpusOf(2, 16) }));
    const { demand } = pod({ name: 'pair', slices: 32, count: 2 });
    if (demand.kind !== 'request') throw new Error('a pod with GPUs was meant');
    engine.learner.learn(demand.request);
    // One pod of two GPUs counts 2 to the power of 2, and all of it is lost: 8 steps of half a pod.
    const placing = engine.place(engine.shapeOf(demand.request, '', {}), engine.ledger.state.indexOf('n') ?? -1);
    expect(placing).toMatchObject({ kind: 'placed', score: -8 });
    expect(engine.lastTerms('fragmentation')).toEqual({ roomBeforePods: 4, roomAfterPods: 0 });
  } finally {
    await service.close();
    await server.close();
  }
});
