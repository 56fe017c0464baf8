// One what-if: who stays, who is placed in which order on which nodes, and what comes of it.

import type { NodeRecord } from '../../extender/core/model.ts';
import { openBooks, type BookSettings } from './books.ts';
import { compareText, fullName, isGpuResident, type LiveCluster, type LiveResident } from './cluster.ts';
import { occupancyOf, type Occupancy } from './occupancy.ts';
import { inOrder, isMoved, placeAll, running, waiting, type Candidate, type Group, type Order } from './placing.ts';
import type { Placed, Progress } from './placing.ts';

/** Pods refused with the same words. */
export interface Refusal {
  readonly why: string;
  readonly pods: number;
  /** By name. */
  readonly names: readonly string[];
}

export interface GroupResult {
  readonly group: Group;
  readonly pods: number;
  readonly fit: number;
  /** Most pods first. */
  readonly refusals: readonly Refusal[];
}

export interface WhatIf {
  readonly occupancy: Occupancy;
  readonly groups: readonly GroupResult[];
  /** Running pods that would have to be stopped and started elsewhere. */
  readonly moves: number;
  readonly placed: readonly Placed[];
}

export interface Plan {
  readonly nodes: readonly NodeRecord[];
  /** Pods that keep their place. */
  readonly stay: readonly LiveResident[];
  /** In the order in which they are placed. */
  readonly candidates: readonly Candidate[];
}

const NO_PROGRESS: Progress = () => undefined;

/** The waiting pods tried on the cluster as it is, oldest first. */
export function asItIs(cluster: LiveCluster, settings: BookSettings, progress: Progress = NO_PROGRESS): WhatIf {
  const candidates = inOrder(waiting(cluster), { kind: 'creation' });
  return carryOut(cluster, { nodes: cluster.nodes, stay: cluster.residents, candidates }, settings, progress);
}

/** Every GPU pod placed anew from empty, those that wait and those to be added among the running ones. */
export function fromEmpty(
  cluster: LiveCluster,
  nodes: readonly NodeRecord[],
  added: readonly Candidate[],
  order: Order,
): Plan {
  const candidates = inOrder([...running(cluster.residents, 'running'), ...waiting(cluster), ...added], order);
  return { nodes, stay: cluster.residents.filter((each) => !isGpuResident(each)), candidates };
}

/** Pods stay where their node stays; then come the pods of removed nodes, the waiting ones, and those to be added. */
export function onTop(cluster: LiveCluster, nodes: readonly NodeRecord[], added: readonly Candidate[]): Plan {
  const names = new Set(nodes.map(({ name }) => name));
  const stay = cluster.residents.filter(({ nodeName }) => names.has(nodeName));
  const leaving = cluster.residents.filter(({ nodeName }) => !names.has(nodeName));
  const groups = [running(leaving, 'drained'), waiting(cluster), added];
  return { nodes, stay, candidates: groups.flatMap((group) => inOrder(group, { kind: 'creation' })) };
}

export function carryOut(
  cluster: LiveCluster,
  { nodes, stay, candidates }: Plan,
  settings: BookSettings,
  progress: Progress = NO_PROGRESS,
): WhatIf {
  const engine = openBooks(cluster, nodes, stay, settings);
  const placed = placeAll(engine, candidates, progress);
  return {
    occupancy: occupancyOf(engine),
    groups: groupResults(placed, invalidWaiting(cluster)),
    moves: placed.filter((each) => each.kind === 'placed' && isMoved(each)).length,
    placed,
  };
}

interface Refused {
  readonly name: string;
  readonly why: string;
}

function invalidWaiting({ waiting: pods }: LiveCluster): readonly Refused[] {
  return pods.flatMap((pod) =>
    pod.demand.kind === 'invalid' ? [{ name: fullName(pod), why: `invalid request: ${pod.demand.why}` }] : [],
  );
}

const GROUPS: readonly Group[] = ['running', 'drained', 'waiting', 'added'];

function groupResults(placed: readonly Placed[], invalid: readonly Refused[]): readonly GroupResult[] {
  return GROUPS.flatMap((group) => {
    const own = placed.filter(({ candidate }) => candidate.group === group);
    const refused = own.flatMap((each) =>
      each.kind === 'refused' ? [{ name: fullName(each.candidate.pod), why: each.why }] : [],
    );
    const all = group === 'waiting' ? [...refused, ...invalid] : refused;
    const pods = own.length + all.length - refused.length;
    if (pods === 0) return [];
    return [{ group, pods, fit: own.length - refused.length, refusals: refusals(all) }];
  });
}

function refusals(refused: readonly Refused[]): readonly Refusal[] {
  const byWhy = new Map<string, string[]>();
  for (const { name, why } of refused) {
    const names = byWhy.get(why);
    if (names === undefined) byWhy.set(why, [name]);
    else names.push(name);
  }
  return [...byWhy]
    .map(([why, names]) => ({ why, pods: names.length, names: names.sort(compareText) }))
    .sort((a, b) => b.pods - a.pods || compareText(a.why, b.why));
}
