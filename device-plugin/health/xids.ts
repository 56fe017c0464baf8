// Which XIDs speak against the GPU and which only against the program that ran on it. Pure.
// The default list is the one the NVIDIA device plugin ignores; every other number is a fault of the GPU.

/** Faults of applications: bad code or data of one process, after which the GPU serves the next one. */
export const APPLICATION_XIDS: readonly number[] = [13, 31, 43, 45, 68, 109];

const MEANINGS: Readonly<Record<number, string | undefined>> = {
  48: 'double-bit ECC error',
  61: 'internal micro-controller breakpoint',
  62: 'internal micro-controller halt',
  63: 'memory row remapping or page retirement',
  64: 'failure to remap a memory row or retire a page',
  74: 'NVLink error',
  79: 'GPU has fallen off the bus',
  92: 'high rate of single-bit ECC errors',
  94: 'contained memory error',
  95: 'uncontained memory error',
  119: 'GPU system processor timeout',
  120: 'GPU system processor error',
  140: 'unrecovered ECC error',
};

export interface XidSettings {
  /** Ignored besides the defaults. */
  readonly ignore: readonly number[];
  /** Taken as faults of the GPU even where a list ignores them. */
  readonly heed: readonly number[];
}

export const DEFAULT_XID_SETTINGS: XidSettings = { ignore: [], heed: [] };

/** The XIDs that leave a GPU's health alone. */
export function ignoredXids({ ignore, heed }: XidSettings): ReadonlySet<number> {
  const ignored = new Set([...APPLICATION_XIDS, ...ignore]);
  for (const xid of heed) ignored.delete(xid);
  return ignored;
}

export function describeXid(xid: number): string {
  const meaning = MEANINGS[xid];
  return meaning === undefined ? `XID ${xid}` : `XID ${xid} (${meaning})`;
}
