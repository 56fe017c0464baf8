// Whether this replica may decide. A new leader takes fresh lists of everything before its first verb, because the last
// bindings of its predecessor may not have reached its watch yet. Without election a replica always leads.

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Clock } from './app/ports.ts';
import type { Delays } from './kube/delays.ts';
import type { KubeApi } from './kube/kube-api.ts';
import { startLeaderElection } from './kube/lease.ts';
import type { Logger } from './logging.ts';

export interface Leadership {
  isLeader(): boolean;
  /** This term's fresh lists are complete. */
  isCaughtUp(): boolean;
  stop(): Promise<void>;
}

export const ALWAYS_LEADER: Leadership = {
  isLeader: () => true,
  isCaughtUp: () => true,
  stop: () => Promise.resolve(),
};

/** Until it is known who leads. */
export const NOT_LEADING: Leadership = {
  isLeader: () => false,
  isCaughtUp: () => false,
  stop: () => Promise.resolve(),
};

export interface LeadershipOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly delays: Delays;
  readonly namespace: string;
  readonly name: string;
  readonly identity: string | undefined;
  readonly log: Logger;
  /** Takes fresh lists; resolves false when they could not be had. Never rejects. */
  readonly relist: () => Promise<boolean>;
  /** This term's fresh lists are complete: verbs are answered from now on. */
  readonly onCaughtUp?: () => void;
}

export function electLeader({ log, relist, onCaughtUp, identity, name, ...options }: LeadershipOptions): Leadership {
  let caughtUpEpoch: number | undefined;
  const catchUp = async (epoch: number): Promise<void> => {
    if (!(await relist())) return;
    caughtUpEpoch = epoch;
    onCaughtUp?.();
  };
  const election = startLeaderElection({
    ...options,
    name,
    identity: `${identity ?? hostname()}_${randomUUID().slice(0, 8)}`,
    onAcquired: (epoch) => {
      log.info('This replica leads now; taking fresh lists', { lease: name, generation: epoch });
      void catchUp(epoch);
    },
    onLost: (epoch, why) => log.warn('This replica no longer leads', { lease: name, generation: epoch, detail: why }),
    report: (message) => log.warn('The lease had trouble', { lease: name, detail: message }),
  });
  return {
    isLeader: () => election.isLeader(),
    isCaughtUp: () => caughtUpEpoch !== undefined && caughtUpEpoch === election.epoch(),
    stop: () => election.stop(),
  };
}
