// The API server contract on a real kube-apiserver: proves that what the embedded server is held to is true.

import { readFile } from 'node:fs/promises';

import { Agent, fetch } from 'undici';
import { parse } from 'yaml';

import { apiServerContract } from '../contract/api-server.ts';
import type { ContractServer } from '../contract/api-server.ts';
import { at, listAt } from '../support/api-connection.ts';
import { requireBinaries } from './binaries.ts';
import { createNamespace } from './cluster.ts';
import { startControlPlane } from './control-plane.ts';

apiServerContract('kube-apiserver', async (): Promise<ContractServer> => {
  const plane = await startControlPlane({ binaries: await requireBinaries() });
  const namespace = 'contract';
  await createNamespace(plane.admin, namespace);
  const kubeconfig: unknown = parse(await readFile(plane.kubeconfig('admin'), 'utf8'));
  const token = String(at(listAt(kubeconfig, 'users')[0], 'user.token'));
  const dispatcher = new Agent({ connect: { ca: await readFile(plane.caFile, 'utf8') } });
  return {
    url: plane.url,
    fetch: async (url, init) => {
      const headers = { ...Object.fromEntries(new Headers(init?.headers)), authorization: `Bearer ${token}` };
      const { method, body, signal } = init ?? {};
      const answer = await fetch(url, {
        headers,
        dispatcher,
        ...(method === undefined ? {} : { method }),
        ...(typeof body === 'string' ? { body } : {}),
        ...(signal === undefined || signal === null ? {} : { signal }),
      });
      return new Response(asBody(answer.body), { status: answer.status, headers: [...answer.headers] });
    },
    namespace,
    bindingPreconditions: plane.minor >= 21,
    close: async () => {
      await dispatcher.close();
      await plane.stop();
    },
  };
});

function asBody(body: unknown): ReadableStream | null {
  return body instanceof ReadableStream ? body : null;
}
