// What the metrics read from the ledger at scrape time.

import type { Ledger } from './core/ledger.ts';
import type { GpuUsage } from './metrics.ts';

/** GPU reservations by state. */
export function reservationCounts(ledger: Ledger): readonly (readonly [state: string, count: number])[] {
  let assumed = 0;
  let unknown = 0;
  for (const uid of ledger.unconfirmed()) {
    if (ledger.resident(uid)?.state === 'assumed') assumed++;
    else unknown++;
  }
  return [
    ['assumed', assumed],
    ['unknown', unknown],
    ['confirmed', ledger.size - assumed - unknown],
  ];
}

/** Allocated and total slices of every GPU. */
export function gpuUsages(ledger: Ledger): readonly GpuUsage[] {
  const { state } = ledger;
  const usages: GpuUsage[] = [];
  for (const node of state.nodeIndices()) {
    const start = state.gpuStart[node] ?? 0;
    for (let at = start; at < start + (state.gpuCount[node] ?? 0); at++) {
      const capacitySlices = state.gpuCapacity[at] ?? 0;
      usages.push({
        node: state.nodeNames[node] ?? '',
        gpu: String(state.gpuIndex[at] ?? 0),
        allocatedSlices: capacitySlices - (state.gpuFree[at] ?? 0),
        capacitySlices,
      });
    }
  }
  return usages;
}
