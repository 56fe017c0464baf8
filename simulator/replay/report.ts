// What a replay answers, as plain data: the JSON output, and what the tables for people are made of.

import type { GpuLimits } from '../../extender/core/limits.ts';
import type { PolicyName } from '../../extender/core/model.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';
import type { MixSource } from './books.ts';
import { fullName, isGpuResident, type LiveCluster } from './cluster.ts';
import type { Finding } from './finding.ts';
import type { Occupancy } from './occupancy.ts';
import type { Group, Placed } from './placing.ts';
import type { RepackReport } from './repack.ts';
import type { GroupResult, WhatIf } from './what-if.ts';

export const REPORT_VERSION = 1;

export interface ReplayReport {
  readonly version: number;
  readonly document: {
    readonly kind: LiveCluster['kind'];
    readonly nodes: number;
    /** Pods on nodes, those without GPUs too. */
    readonly pods: number;
    readonly gpuPods: number;
    readonly waitingPods: number;
  };
  readonly settings: {
    readonly policy: PolicyName;
    readonly order: string;
    readonly limits: GpuLimits;
    readonly mix: MixSource;
    /** Kinds of requests that count as typical. */
    readonly typicalRequests: number;
    /** Where they are not the policy's own. */
    readonly weights?: RoomWeights;
  };
  readonly findings: readonly Finding[];
  readonly today: { readonly occupancy: Occupancy; readonly waiting: GroupResult | undefined };
  /** With nodes or pods added or removed, everybody else where they are. */
  readonly changed?: Outcome;
  /** Every GPU pod placed anew from empty. */
  readonly anew?: Outcome;
  readonly repack?: RepackReport;
}

export interface Outcome {
  readonly occupancy: Occupancy;
  readonly groups: readonly GroupResult[];
  readonly moves: number;
  /** Where the pods of removed nodes would go; `to` is empty where they fit nowhere. */
  readonly drained: readonly DrainedPod[];
}

export interface DrainedPod {
  readonly pod: string;
  readonly from: string;
  readonly to: string;
  readonly gpus: readonly number[];
  readonly why: string;
}

export function documentFigures(cluster: LiveCluster): ReplayReport['document'] {
  return {
    kind: cluster.kind,
    nodes: cluster.nodes.length,
    pods: cluster.residents.length,
    gpuPods: cluster.residents.filter(isGpuResident).length,
    waitingPods: cluster.waiting.length,
  };
}

export function outcomeOf({ occupancy, groups, moves, placed }: WhatIf): Outcome {
  return { occupancy, groups, moves, drained: placed.filter(isOf('drained')).map(drainedPod) };
}

function isOf(group: Group): (placed: Placed) => boolean {
  return ({ candidate }) => candidate.group === group;
}

function drainedPod(placed: Placed): DrainedPod {
  const { pod, today } = placed.candidate;
  const isPlaced = placed.kind === 'placed';
  return {
    pod: fullName(pod),
    from: today?.nodeName ?? '',
    to: isPlaced ? placed.place.nodeName : '',
    gpus: isPlaced ? placed.place.gpus.map(({ index }) => index) : [],
    why: isPlaced ? '' : placed.why,
  };
}

/** A line for each pod that was placed or refused, in the order of placing. GPU indices are joined by `|`. */
export function* placementLines(placed: readonly Placed[]): Iterable<string> {
  yield 'namespace,name,uid,group,node_today,gpus_today,node,gpus\n';
  for (const each of placed) {
    const { pod, group, today } = each.candidate;
    const place = each.kind === 'placed' ? each.place : undefined;
    const cells = [pod.namespace, pod.name, pod.uid, group, ...placeCells(today), ...placeCells(place)];
    yield `${cells.map(csvCell).join(',')}\n`;
  }
}

function placeCells(
  place: { readonly nodeName: string; readonly gpus: readonly { readonly index: number }[] } | undefined,
): string[] {
  return place === undefined ? ['', ''] : [place.nodeName, place.gpus.map(({ index }) => index).join('|')];
}

function csvCell(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
