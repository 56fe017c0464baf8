// The embedded API server against the contract, with both ways of refusing an expired watch.

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import type { EmbeddedApiServerOptions } from '../../extender/embedded/api-server.ts';
import type { ContractServer } from '../contract/api-server.ts';
import { apiServerContract } from '../contract/api-server.ts';

async function embedded(options: EmbeddedApiServerOptions): Promise<ContractServer> {
  const server = new EmbeddedApiServer(options);
  return {
    url: await server.listen(),
    fetch,
    namespace: 'default',
    bindingPreconditions: options.bindingPreconditions ?? true,
    compact: () => {
      server.faults.compactHistory();
      return Promise.resolve();
    },
    close: () => server.close(),
  };
}

apiServerContract('embedded', () => embedded({}));
apiServerContract('embedded as an old server', () =>
  embedded({ expiredWatch: 'http-status', bindingPreconditions: false }),
);
