// How much of the stranded capacity a better placement would free. Two answers: everything placed anew, the best of
// several orders and policies; and the running pods moved one at a time, as long as that lowers fragmentation.

import type { Engine } from '../../extender/core/engine.ts';
import type { PolicyName } from '../../extender/core/model.ts';
import { FragmentationTotal } from '../run/fragmentation-total.ts';
import { openBooks, type BookSettings } from './books.ts';
import { isGpuResident, type GpuResident, type LiveCluster } from './cluster.ts';
import { occupancyOf } from './occupancy.ts';
import { inOrder, isMoved, orderName, placeAll, placeOne, running, waiting, type Order } from './placing.ts';
import type { Placed, Progress } from './placing.ts';
import { carryOut, fromEmpty, type WhatIf } from './what-if.ts';

export interface Repacking {
  /** `order/policy` of the best, or `moves`. */
  readonly way: string;
  readonly strandedSlices: number | undefined;
  /** Less stranded than today, whether free for typical requests now or used by waiting pods. */
  readonly freedSlices: number;
  /** The same in GPUs of average size. */
  readonly freedGpus: number;
  readonly idleGpus: number;
  readonly fragmentationPercent: number | undefined;
  /** Of the waiting pods. */
  readonly waitingFit: number;
  readonly moves: number;
}

export interface RepackReport {
  /** As it is, with the waiting pods that fit. */
  readonly today: Omit<Repacking, 'way' | 'freedSlices' | 'freedGpus' | 'moves'>;
  /** Undefined where every order left a running pod without a place. */
  readonly anew: Repacking | undefined;
  readonly fewMoves: Repacking;
  readonly tried: readonly string[];
}

const ORDERS: readonly Order[] = [
  { kind: 'creation' },
  { kind: 'size' },
  ...[1, 2, 3].map((seed) => ({ kind: 'seed' as const, seed })),
];
const POLICIES: readonly PolicyName[] = ['fragmentation', 'binpack'];
const MAX_PASSES = 3;
/** Less gain than this, in thousandths of a GPU, is rounding. */
const LEAST_GAIN_MILLI = 1e-6;

/** `today`: the cluster as it is with the waiting pods tried. */
export function repack(cluster: LiveCluster, settings: BookSettings, today: WhatIf, progress: Progress): RepackReport {
  const ways = ORDERS.flatMap((order) => POLICIES.map((policy) => ({ order, policy })));
  let best: { readonly way: string; readonly result: WhatIf } | undefined;
  for (const [at, { order, policy }] of ways.entries()) {
    progress(at, ways.length + 1);
    const result = carryOut(cluster, fromEmpty(cluster, cluster.nodes, [], order), { ...settings, policy });
    if (fitOf(result, 'running') < podsOf(result, 'running')) continue;
    if (best === undefined || isBetter(result, best.result)) best = { way: `${orderName(order)}/${policy}`, result };
  }
  progress(ways.length, ways.length + 1);
  const few = moveFew(cluster, settings);
  return {
    today: figures(today),
    anew: best === undefined ? undefined : repacking(best.way, best.result, best.result.moves, today),
    fewMoves: repacking('moves', few.result, few.moves, today),
    tried: ways.map(({ order, policy }) => `${orderName(order)}/${policy}`),
  };
}

function isBetter(a: WhatIf, b: WhatIf): boolean {
  const waitingMore = fitOf(a, 'waiting') - fitOf(b, 'waiting');
  const strandedLess = stranded(b) - stranded(a);
  const fragmentedLess = (b.occupancy.fragmentationGpus ?? 0) - (a.occupancy.fragmentationGpus ?? 0);
  return (waitingMore || strandedLess || fragmentedLess || b.moves - a.moves) > 0;
}

function stranded({ occupancy }: WhatIf): number {
  return occupancy.strandedSlices ?? 0;
}

function podsOf({ groups }: WhatIf, group: string): number {
  return groups.find((each) => each.group === group)?.pods ?? 0;
}

function fitOf({ groups }: WhatIf, group: string): number {
  return groups.find((each) => each.group === group)?.fit ?? 0;
}

function figures(result: WhatIf): RepackReport['today'] {
  const { strandedSlices, idleGpus, fragmentationPercent } = result.occupancy;
  return { strandedSlices, idleGpus, fragmentationPercent, waitingFit: fitOf(result, 'waiting') };
}

function repacking(way: string, result: WhatIf, moves: number, today: WhatIf): Repacking {
  const { gpus, slices } = today.occupancy;
  const freedSlices = Math.round((stranded(today) - stranded(result)) * 10) / 10;
  const freedGpus = slices === 0 ? 0 : Math.round((freedSlices * gpus * 100) / slices) / 100;
  return { way, ...figures(result), freedSlices, freedGpus, moves };
}

/**
 * Moves running pods that a scheduler could move, the smallest first, wherever the engine now puts them better, until a
 * whole pass gains nothing. A move is kept only if the fragmentation of the cluster falls by it.
 */
function moveFew(cluster: LiveCluster, settings: BookSettings): { readonly result: WhatIf; readonly moves: number } {
  const engine = openBooks(cluster, cluster.nodes, cluster.residents, settings);
  const total = new FragmentationTotal(engine);
  const movable = inOrder(running(cluster.residents.filter(isMovable), 'running'), { kind: 'size' }).toReversed();
  const places = new Map<string, Placed>();
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    let hasGained = false;
    for (const candidate of movable) {
      const before = engine.ledger.resident(candidate.pod.uid);
      if (before === undefined) continue;
      const milliBefore = total.milli;
      engine.ledger.release(candidate.pod.uid);
      changed(engine, total, before.nodeName);
      const placed = placeOne(engine, candidate);
      if (placed.kind === 'placed') changed(engine, total, placed.place.nodeName);
      if (placed.kind === 'placed' && milliBefore - total.milli > LEAST_GAIN_MILLI) {
        places.set(candidate.pod.uid, placed);
        hasGained = true;
        continue;
      }
      engine.ledger.release(candidate.pod.uid);
      if (placed.kind === 'placed') changed(engine, total, placed.place.nodeName);
      engine.ledger.adopt(before);
      changed(engine, total, before.nodeName);
    }
    if (!hasGained) break;
  }
  const tried = placeAll(engine, inOrder(waiting(cluster), { kind: 'creation' }), () => undefined);
  const fit = tried.filter(({ kind }) => kind === 'placed').length;
  const moves = [...places.values()].filter((each) => each.kind === 'placed' && isMoved(each)).length;
  const groups = [{ group: 'waiting' as const, pods: tried.length, fit, refusals: [] }];
  return { result: { occupancy: occupancyOf(engine), groups, moves, placed: tried }, moves };
}

function changed({ ledger: { state } }: Engine, total: FragmentationTotal, nodeName: string): void {
  const node = state.indexOf(nodeName);
  if (node !== undefined) total.changed(node);
}

/** Nobody knows where a pod without a known GPU is, nor where one in flight will be. */
function isMovable(resident: LiveCluster['residents'][number]): resident is GpuResident {
  return isGpuResident(resident) && resident.gpus.length > 0 && resident.state === 'confirmed';
}
