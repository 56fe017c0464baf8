// The floor of the verbs listener: the same server stack and JSON handling, with an application that answers every node
// without looking. What the extender takes on top of this is its own cost.

import { createLogger } from '../../extender/logging.ts';
import type { ListenAddress } from '../../extender/http/listener.ts';
import type { VerbSurface } from '../../extender/http/surface.ts';
import { createVerbsServer } from '../../extender/http/verbs-server.ts';

export interface FloorServer {
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Filter echoes the names; prioritize scores every host 0; bind succeeds. */
export const floorVerbs: VerbSurface = {
  filter: (args) => ({
    Nodes: null,
    NodeNames: args.NodeNames ?? [],
    FailedNodes: {},
    FailedAndUnresolvableNodes: {},
    Error: '',
  }),
  prioritize: (args) => (args.NodeNames ?? []).map((Host) => ({ Host, Score: 0 })),
  bind: () => Promise.resolve({ Error: '' }),
};

export async function startFloorServer(port = 0): Promise<FloorServer> {
  const listener = createVerbsServer({
    verbs: floorVerbs,
    inspect: () => ({ nodes: [] }),
    version: 'floor',
    observer: { verbAnswered: () => {}, connectionRefused: () => {} },
    log: createLogger({ level: 'warn', component: 'http-floor' }),
  });
  const address = await listener.listen({ host: '127.0.0.1', port });
  return { address, close: () => listener.close() };
}

if (import.meta.main) {
  const floor = await startFloorServer(Number(process.argv[2] ?? 0));
  process.stdout.write(`${floor.address.host}:${floor.address.port}\n`);
}
