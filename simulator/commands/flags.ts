// The flags of each command as the command line gives them, checked. Types only.

import type { SimulatedPolicyName } from '../policy/selection.ts';
import type { DriverFlags } from './driver-flags.ts';
import type { WeightFlags } from './weight-flags.ts';

export interface RunFlags extends DriverFlags, WeightFlags {
  readonly nodes?: string;
  readonly pods?: string;
  readonly arrivals?: string;
  readonly seed?: number;
  readonly inflate: number;
  readonly scale: number;
  readonly policy: SimulatedPolicyName;
  readonly placements?: string;
  readonly timed?: true;
  /** Of timed runs. */
  readonly load?: number;
  readonly hours?: number;
  readonly json?: string;
  readonly csv?: string;
}

export interface CompareFlags extends DriverFlags, WeightFlags {
  readonly openb?: string;
  readonly traces?: readonly string[];
  readonly policies?: readonly SimulatedPolicyName[];
  readonly seeds?: readonly number[];
  readonly inflate: number;
  readonly scale: number;
  readonly workers?: number;
  readonly check?: true;
  readonly bounds?: true;
  readonly json?: string;
  readonly csv?: string;
}

export interface GenerateFlags {
  readonly out: string;
  readonly seed: number;
  readonly scale: number;
  readonly inflate: number;
  /** Pods with classes and times in place of an order of arrivals. */
  readonly timed?: true;
  readonly load?: number;
  readonly hours?: number;
  /** How many series of GPU load to write as well. */
  readonly loadSeries?: number;
}

/** The files of `run`, a folder of traces, or generated workloads. */
export interface TuneFlags extends DriverFlags {
  readonly openb?: string;
  readonly traces?: readonly string[];
  readonly nodes?: string;
  readonly pods?: string;
  readonly arrivals?: string;
  readonly seeds?: readonly number[];
  readonly heldOut?: readonly number[];
  readonly inflate: number;
  readonly scale: number;
  /** How many weights are tried at most. */
  readonly budget: number;
  readonly workers?: number;
  readonly json?: string;
}

/** Either the files of `run`, or a folder of traces. */
export interface BoundFlags {
  readonly nodes?: string;
  readonly pods?: string;
  readonly arrivals?: string;
  readonly seed?: number;
  readonly inflate: number;
  readonly scale: number;
  readonly openb?: string;
  readonly traces?: readonly string[];
  readonly seeds?: readonly number[];
  readonly json?: string;
  readonly csv?: string;
}
