// What the contract cases work with: a connection to the server under test, and names and pods of their own.

import { expect } from 'vitest';

import { ApiConnection, at } from '../support/api-connection.ts';
import type { Answer, FetchLike } from '../support/api-connection.ts';

export interface ContractServer {
  readonly url: string;
  readonly fetch: FetchLike;
  /** An existing namespace in which pods may be created. */
  readonly namespace: string;
  /** Servers before 1.21 ignore uid and resourceVersion in a Binding. */
  readonly bindingPreconditions: boolean;
  /** Forgets the history up to now; absent where a test cannot ask for it. */
  readonly compact?: () => Promise<void>;
  close(): Promise<void>;
}

export interface Subject {
  readonly server: ContractServer;
  readonly api: ApiConnection;
  /** A name that no other case uses. */
  readonly name: (stem: string) => string;
  readonly pods: (name?: string) => string;
  readonly createPod: (name: string, labels?: Readonly<Record<string, string>>) => Promise<Answer>;
  readonly bind: (name: string, nodeName: string, metadata?: Readonly<Record<string, unknown>>) => Promise<Answer>;
}

export type Cases = (subject: () => Subject) => void;

export function makeSubject(server: ContractServer): Subject {
  const api = new ApiConnection(server.url, server.fetch);
  const run = Math.trunc(performance.timeOrigin).toString(36);
  let count = 0;
  const pods = (name = ''): string =>
    `/api/v1/namespaces/${server.namespace}/pods${name === '' || name.startsWith('?') ? name : `/${name}`}`;
  return {
    server,
    api,
    name: (stem) => `${stem}-${run}-${++count}`,
    pods,
    createPod: (name, labels = {}) =>
      api.post(pods(), {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, labels },
        spec: {
          schedulerName: 'nobody',
          terminationGracePeriodSeconds: 20,
          containers: [{ name: 'main', image: 'registry.example/main:1' }],
        },
      }),
    bind: (name, nodeName, metadata = {}) =>
      api.post(pods(`${name}/binding`), {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name, ...metadata },
        target: { apiVersion: 'v1', kind: 'Node', name: nodeName },
      }),
  };
}

export function expectFailure(answer: Answer, code: number, reason: string): void {
  expect({ http: answer.status, body: answer.body }).toMatchObject({
    http: code,
    body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, code },
  });
}

export const uidOf = (answer: Answer): string => String(at(answer.body, 'metadata.uid'));
export const versionOf = (answer: Answer): string => String(at(answer.body, 'metadata.resourceVersion'));
