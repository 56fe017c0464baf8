// One cell of a comparison, as it travels to a worker thread and back. Plain data.

import type { RoomWeights } from '../../extender/core/room-weights.ts';
import type { SimulatedPolicyName } from '../policy/selection.ts';
import type { CurvePoint } from '../run/curve.ts';
import type { DriverSettings } from '../run/driver.ts';
import type { RefusalCounts } from '../run/refusal.ts';

export interface WorkloadFiles {
  readonly nodes: string;
  readonly pods: string;
  readonly arrivals?: string;
}

export interface CompareTask {
  /** Folder of the openb trace; undefined for a generated workload, or one from `files`. */
  readonly openb: string | undefined;
  /** Lists of one's own, and the orders of arrival, which the seed makes where there are none. */
  readonly files?: WorkloadFiles;
  readonly trace: string;
  readonly seed: number;
  readonly policy: SimulatedPolicyName;
  readonly driver: DriverSettings;
  /** Of the default policy; its own where there are none. */
  readonly weights?: RoomWeights;
  /** Of generated workloads. */
  readonly scale: number;
  readonly load: number;
  /** Whether the result says what is taken of every GPU. */
  readonly keepsOccupancy?: true;
}

/** What a worker thread is told: what to do next, or that nothing is left. */
export type CompareOrder = CompareTask | 'end';

/** What a comparison keeps of a run. */
export interface CompareResult {
  readonly policy: SimulatedPolicyName;
  readonly driver: DriverSettings['kind'];
  readonly trace: string;
  readonly seed: number;
  readonly gpus: number;
  readonly pods: number;
  readonly arrivedMilli: number;
  readonly allocatedMilli: number;
  readonly refused: number;
  /** Of those, pods that a node could have hosted which the scheduler did not look at. */
  readonly unseen: number;
  readonly refusedBy: RefusalCounts;
  readonly decisions: number;
  readonly allocationPercent: number;
  readonly fragmentationPercent: number;
  /** Means over the last bin of arrived load, as the published figures are. */
  readonly atLoad: {
    readonly arrivedPercent: number;
    readonly allocationPercent: number;
    readonly fragmentationPercent: number;
  };
  readonly curve: readonly CurvePoint[];
  /** Where the task asks for it; see `occupancyLines`. */
  readonly occupancy?: readonly string[];
}

/** A worker's answer. A fault of a file is told as its message, since errors lose their class on the way. */
export type CompareReply =
  { readonly kind: 'result'; readonly result: CompareResult } | { readonly kind: 'fault'; readonly message: string };
