// The port through which the agent sees GPUs, and the records that cross it. Implementations: nvml, smi, file.
// One GPU that cannot be read is a record of its own and never takes the others down; read() fails only as a whole
// (no driver, no tool). read() may be called at any time; calls that overlap share one reading.

export type MigMode = 'unsupported' | 'disabled' | 'enabled';

/** A utilisation figure and who measured it; figures of different sources are not comparable. */
export interface Utilisation {
  readonly percent: number;
  readonly source: string;
}

export interface GpuProcess {
  /** In the host's PID namespace. */
  readonly pid: number;
  /** `undefined` where the driver does not tell. */
  readonly usedMemoryMiB: number | undefined;
}

/** Totals since the driver was loaded. */
export interface EccCounters {
  readonly corrected: number;
  readonly uncorrected: number;
}

export interface ReadableGpu {
  readonly kind: 'readable';
  readonly uuid: string;
  readonly index: number;
  readonly minor: number;
  readonly model: string;
  readonly memoryMiB: number;
  /** Empty where unknown. */
  readonly pciBusId: string;
  /** NUMA node, or -1 where unknown. */
  readonly numa: number;
  readonly mig: MigMode;
  readonly ecc: EccCounters | undefined;
  readonly memoryUsedMiB: number | undefined;
  readonly smUtilisation: Utilisation | undefined;
  readonly memoryUtilisation: Utilisation | undefined;
  /** `undefined` where the source cannot list them; an empty list is an idle GPU. */
  readonly processes: readonly GpuProcess[] | undefined;
}

export interface UnreadableGpu {
  readonly kind: 'unreadable';
  readonly index: number;
  /** `undefined` when the source never read this GPU. */
  readonly uuid: string | undefined;
  /** Empty where unknown. */
  readonly pciBusId: string;
  readonly why: string;
}

export type GpuReading = ReadableGpu | UnreadableGpu;

/** Closeness of two GPUs, 0..1000 (higher is closer). Pairs without a weight are unknown. */
export interface GpuLink {
  readonly between: readonly [uuid: string, uuid: string];
  readonly weight: number;
}

export interface InventoryReading {
  /** Name of the source that read this. */
  readonly source: string;
  readonly driverVersion: string | undefined;
  /** By index. */
  readonly gpus: readonly GpuReading[];
  readonly links: readonly GpuLink[];
}

/** `uuid: undefined` in a fault: the source could not tell which GPU, so every GPU is suspect. */
export type GpuEvent =
  | { readonly kind: 'xid'; readonly uuid: string | undefined; readonly xid: number }
  | { readonly kind: 'doubleBitEcc'; readonly uuid: string | undefined }
  | { readonly kind: 'lost'; readonly uuid: string | undefined; readonly why: string }
  | { readonly kind: 'recovered'; readonly uuid: string }
  | { readonly kind: 'inventoryChanged' }
  /** The source itself has trouble (events cannot be had, an edit of its file is wrong); GPUs are not accused. */
  | { readonly kind: 'trouble'; readonly why: string };

export type GpuEventListener = (event: GpuEvent) => void;

export interface InventorySource {
  readonly name: string;
  /** Rejects with an error that says what, where and how to mend it when nothing at all could be read. */
  read(): Promise<InventoryReading>;
  /** Events arrive in order, also for changes that a read() finds. The returned function ends the subscription. */
  subscribe(listener: GpuEventListener): () => void;
  /** Stops watching and releases the driver; waits until nothing of the source runs any more. */
  close(): Promise<void>;
}
