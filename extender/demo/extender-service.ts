// The real extender service on free loopback ports, in front of an embedded API server.

import { setTimeout as sleep } from 'node:timers/promises';

import { loadConfig } from '../config.ts';
import type { PolicyName } from '../core/model.ts';
import type { Logger } from '../logging.ts';
import { startService } from '../service.ts';
import { packageVersion } from '../version.ts';

/** Where the extender answers kube-scheduler and people. */
export interface ExtenderEndpoint {
  readonly verbsUrl: string;
  readonly opsUrl: string;
}

export interface RunningExtender extends ExtenderEndpoint {
  /** Whether its watch has shown it a pod: an unbound GPU pod, or any bound pod. */
  hasSeen(uid: string): boolean;
  close(): Promise<void>;
}

export interface ExtenderServiceOptions {
  readonly apiUrl: string;
  readonly policy: PolicyName;
  readonly log: Logger;
}

const ANY_PORT = '127.0.0.1:0';
const READY_LIMIT_MILLIS = 10_000;
const POLL_MILLIS = 1;

/** Resolves when the service answers verbs. */
export async function startExtender({ apiUrl, policy, log }: ExtenderServiceOptions): Promise<RunningExtender> {
  const version = packageVersion();
  const loaded = loadConfig({
    argv: ['--cluster', 'embedded', '--listen', ANY_PORT, '--ops', ANY_PORT, '--policy', policy],
    env: {},
    readFile: (path) => {
      throw new Error(`${path} is not read by the demo`);
    },
    version,
  });
  if (loaded.kind !== 'config') {
    const why = loaded.kind === 'errors' ? loaded.errors.join('; ') : loaded.kind;
    throw new Error(`the extender refuses the demo's configuration: ${why}`);
  }
  const target = { kind: 'loopback', server: apiUrl } as const;
  const service = await startService({ config: loaded.config, cluster: 'embedded', target, version, log });
  const { pending, engine } = service.app;
  try {
    await until(() => service.readiness.report().ready, 'the extender to have read the cluster');
  } catch (error) {
    await service.close();
    throw error;
  }
  return {
    verbsUrl: service.verbsUrl,
    opsUrl: service.opsUrl,
    hasSeen: (uid) => pending.byUid(uid) !== undefined || engine.ledger.resident(uid) !== undefined,
    close: () => service.close(),
  };
}

/** Waits for something that happens within milliseconds; throws after ten seconds. */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + READY_LIMIT_MILLIS;
  while (!isSo()) {
    if (performance.now() > deadline) {
      throw new Error(`waited ${READY_LIMIT_MILLIS / 1000} s for ${what}; the log lines on stderr may say why`);
    }
    await sleep(POLL_MILLIS);
  }
}
