// Ends doubtful reservations that neither a retry nor the watch has decided. An API request may commit long after we
// gave up waiting, so an unbound pod is only believed once the reservation is older than `holdMillis`.

import { settle, type BindDeps } from './bind.ts';

export type SweepDeps = Pick<BindDeps, 'engine' | 'podReader' | 'clock' | 'profile' | 'timeoutMillis'> & {
  readonly holdMillis: number;
};

/** One pass over unconfirmed reservations; returns how many it ended. Call it every few seconds, never twice at once. */
export async function sweepReservations(deps: SweepDeps): Promise<number> {
  const { ledger } = deps.engine;
  let ended = 0;
  for (const uid of [...ledger.unconfirmed()]) {
    const resident = ledger.resident(uid);
    const isOld = resident !== undefined && deps.clock.monotonicMillis() - resident.sinceMillis >= deps.holdMillis;
    if (!isOld || resident.state !== 'unknown') continue;
    const outcome = await settle(deps, resident, deps.timeoutMillis);
    if (ledger.resident(uid) !== resident) ended++;
    else if (outcome === 'open') {
      ledger.forget(uid);
      ended++;
    }
  }
  return ended;
}
