// Work that goes on beside the verbs, on timers: doubtful reservations are settled, the ledger is compared with its
// rebuild. One sweep at a time; what fails is logged and tried again at the next turn.

import type { Application } from './app/application.ts';
import type { Audit } from './app/audit.ts';
import type { Logger } from './logging.ts';

const SWEEP_EVERY_MILLIS = 5000;
const AUDIT_EVERY_MILLIS = 1000;

export interface Duties {
  stop(): void;
}

export function startDuties(app: Application, audit: Audit, log: Logger): Duties {
  let isSweeping = false;
  const sweep = (): void => {
    if (isSweeping) return;
    isSweeping = true;
    app
      .sweep()
      .catch((error: unknown) => log.error('Settling doubtful reservations failed', { error }))
      .finally(() => {
        isSweeping = false;
      });
  };
  const check = (): void => {
    for (const detail of audit.step()) log.error('The ledger differs from its rebuild', { detail });
  };
  const timers = [setInterval(sweep, SWEEP_EVERY_MILLIS), setInterval(check, AUDIT_EVERY_MILLIS)];
  return { stop: () => timers.forEach((timer) => clearInterval(timer)) };
}
