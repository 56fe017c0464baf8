// The extender as kube-scheduler calls it: JSON over HTTP with keep-alive, capitalised keys, names instead of nodes, one
// time limit for the whole exchange and no retry. Safe for concurrent calls.

import { Pool } from 'undici';

import type { ExtenderFilterResult, HostPriority } from '../app/extender-api.ts';
import type { PodManifest } from '../core/manifest.ts';
import { identityOf } from './manifests.ts';

export interface ExtenderCalls {
  filter(pod: PodManifest, nodeNames: readonly string[]): Promise<ExtenderFilterResult>;
  prioritize(pod: PodManifest, nodeNames: readonly string[]): Promise<readonly HostPriority[]>;
  bind(pod: PodManifest, nodeName: string): Promise<void>;
  close(): Promise<void>;
}

export type VerbName = 'filter' | 'prioritize' | 'bind';

/** A call that brought no usable answer; for bind also one that was refused. */
export class CallFailed extends Error {}

export interface ExtenderCallsOptions {
  /** Without a path: `http://127.0.0.1:12345`. */
  readonly verbsUrl: string;
  readonly connections: number;
  /** Told how long each answered call took. */
  readonly onAnswer?: (verb: VerbName, millis: number) => void;
}

/** kube-scheduler's default httpTimeout. */
const TIMEOUT_MILLIS = 5000;
const KEEP_ALIVE_MILLIS = 60_000;

export function connectExtender({ verbsUrl, connections, onAnswer }: ExtenderCallsOptions): ExtenderCalls {
  const pool = new Pool(verbsUrl, { connections, pipelining: 1, keepAliveTimeout: KEEP_ALIVE_MILLIS });
  const call = async (verb: VerbName, body: object): Promise<unknown> => {
    const start = performance.now();
    const { statusCode, body: reply } = await pool
      .request({
        method: 'POST',
        path: `/v1/${verb}`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MILLIS),
      })
      .catch((error: unknown) => {
        throw new CallFailed(`${verb} of the extender did not answer: ${String(error)}`);
      });
    const text = await reply.text();
    onAnswer?.(verb, performance.now() - start);
    // kube-scheduler drops the text of such an answer; here it helps whoever reads the demo's output.
    if (statusCode !== 200)
      throw new CallFailed(`${verb} of the extender answered ${statusCode}: ${text.slice(0, 200)}`);
    return parseJson(verb, text);
  };
  return {
    filter: async (Pod, NodeNames) => filterResult(await call('filter', { Pod, Nodes: null, NodeNames })),
    prioritize: async (Pod, NodeNames) => priorities(await call('prioritize', { Pod, Nodes: null, NodeNames })),
    bind: async (pod, Node) => {
      const { namespace: PodNamespace, name: PodName, uid: PodUID } = identityOf(pod);
      const reply = await call('bind', { PodName, PodNamespace, PodUID, Node });
      const error = isRecord(reply) ? reply['Error'] : 'no object';
      if (error !== '') throw new CallFailed(`bind: ${String(error)}`);
    },
    close: () => pool.close(),
  };
}

function parseJson(verb: VerbName, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CallFailed(`${verb} of the extender answered no JSON (${String(error)}): ${text.slice(0, 100)}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function filterResult(value: unknown): ExtenderFilterResult {
  if (!isRecord(value)) throw new CallFailed('filter of the extender answered no object');
  const error = value['Error'];
  if (typeof error === 'string' && error !== '') throw new CallFailed(`filter: ${error}`);
  const names: unknown = value['NodeNames'] ?? [];
  if (!Array.isArray(names)) throw new CallFailed('filter of the extender answered NodeNames that are no list');
  return {
    Nodes: null,
    NodeNames: names.map(String),
    FailedNodes: texts(value['FailedNodes']),
    FailedAndUnresolvableNodes: texts(value['FailedAndUnresolvableNodes']),
    Error: '',
  };
}

function texts(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(isRecord(value) ? value : {}).map(([name, text]) => [name, String(text)]));
}

function priorities(value: unknown): readonly HostPriority[] {
  if (!Array.isArray(value)) throw new CallFailed('prioritize of the extender answered no list');
  return (value as readonly unknown[]).filter(isRecord).map(({ Host, Score }) => {
    if (typeof Host !== 'string' || !Number.isInteger(Score)) {
      throw new CallFailed('prioritize of the extender answered an entry without Host or whole Score');
    }
    return { Host, Score: Number(Score) };
  });
}
