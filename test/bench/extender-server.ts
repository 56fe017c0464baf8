// The server side of the extender benchmark, as a process of its own: the verbs listener over a loaded application, or
// the floor. After each prioritize the pod takes its best node and the oldest one leaves, so that no call meets an
// unchanged ledger.

import { createApplication } from '../../extender/app/application.ts';
import type { ExtenderArgs } from '../../extender/app/extender-api.ts';
import type { VerbSurface } from '../../extender/http/surface.ts';
import { createVerbsServer } from '../../extender/http/verbs-server.ts';
import { createLogger } from '../../extender/logging.ts';
import { podRecord } from '../../extender/core/records.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import { createShapeCache } from '../../extender/shape-cache.ts';
import { benchNode, benchPod, nodeName, seeded } from './bench-cluster.ts';
import { floorVerbs } from './http-floor.ts';

const [mode = 'floor', nodesText = '500', podsText = '0', narrowText = '32'] = process.argv.slice(2);
const nodes = Number(nodesText);
const pods = Number(podsText);

/** The application with a churning ledger behind the verbs. */
function loadedVerbs(): { readonly verbs: VerbSurface; readonly placed: number } {
  const never = (): never => {
    throw new Error('the benchmark binds nothing');
  };
  const app = createApplication(
    {
      shapes: createShapeCache(),
      profile: PROFILES.gpuloom,
      ranking: 'decisive',
      narrow: Number(narrowText),
      bindTimeoutMillis: 3000,
      reservationHoldMillis: 90_000,
    },
    {
      binder: { bind: never },
      podReader: { read: never },
      events: { publish: () => undefined },
      clock: { wallMillis: () => Date.now(), monotonicMillis: () => performance.now() },
      metrics: { countBind: () => undefined, countRejection: () => undefined, countTampered: () => undefined },
      refusal: () => undefined,
    },
  );
  const { engine } = app;
  const { ledger } = engine;
  app.feeds.nodes.replace(Array.from({ length: nodes }, (_, at) => benchNode(at)));
  const random = seeded(7);
  const live: string[] = [];
  const place = (record: ReturnType<typeof benchPod>, index: number): boolean => {
    if (record.demand.kind !== 'request') return false;
    const { request } = record.demand;
    const placing = engine.place(engine.shapeOf(request, record.namespace, record.labels), index);
    if (placing.kind === 'rejected') return false;
    ledger.assume(record, request, ledger.state.nodeNames[index] ?? '', placing.gpus, 0);
    ledger.confirm(record.uid, 0);
    live.push(record.uid);
    return true;
  };
  for (let each = 0; each < pods; each++) {
    const record = benchPod(`placed-${each}`, random);
    if (record.demand.kind === 'request') engine.learner.learn(record.demand.request);
    for (let attempt = 0; attempt < 50 && !place(record, Math.floor(random() * nodes)); attempt++);
  }
  let serial = 0;
  const takeBest = (args: Pick<ExtenderArgs, 'Pod'>, best: string | undefined): void => {
    const record = args.Pod ? podRecord(args.Pod, PROFILES.gpuloom) : undefined;
    setImmediate(() => {
      const index = ledger.state.indexOf(best ?? '');
      if (record !== undefined && index !== undefined) place({ ...record, uid: `churn-${serial++}` }, index);
      const oldest = live.shift();
      if (oldest !== undefined) ledger.release(oldest);
    });
  };
  const verbs: VerbSurface = {
    filter: (args) => app.filter(args),
    bind: (args) => app.bind(args),
    prioritize: (args) => {
      const priorities = app.prioritize(args);
      takeBest(args, priorities.find(({ Score }) => Score === 10)?.Host);
      return priorities;
    },
    inBytes: {
      filter: (args) => app.inBytes.filter(args),
      prioritize: (args) => {
        const scored = app.inBytes.prioritize(args);
        const best = scored.scores.subarray(0, args.Hosts.count).indexOf(10);
        takeBest(args, best < 0 ? undefined : args.Hosts.nameAt(best));
        return scored;
      },
    },
  };
  return { verbs, placed: live.length };
}

const { verbs, placed } = mode === 'floor' ? { verbs: floorVerbs, placed: 0 } : loadedVerbs();
const listener = createVerbsServer({
  verbs,
  inspect: () => ({ nodes: [] }),
  version: 'bench',
  observer: { verbAnswered: () => undefined, connectionRefused: () => undefined },
  log: createLogger({ level: 'warn', component: 'bench' }),
});
const address = await listener.listen({ host: '127.0.0.1', port: 0 });
process.send?.({ port: address.port, placed, firstNode: nodeName(0) });
process.on('message', () => {
  process.send?.({ rssMiB: process.memoryUsage().rss / 2 ** 20 });
});
process.on('disconnect', () => process.exit(0));
