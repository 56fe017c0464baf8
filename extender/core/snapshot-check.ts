// Whether a parsed JSON value holds the records that a snapshot promises. A snapshot comes from a file that anybody may
// have edited, so every field that the engine reads is checked in place, and the first fault is told with its path.

import { MAX_GPUS_PER_NODE, MAX_SLICES_PER_GPU } from './inventory-codec.ts';
import type { LearnedMix, PortableClass, PortableShare } from './mix.ts';
import type {
  Affinities,
  AllocationClaim,
  ContainerDemand,
  Gpu,
  GpuDemand,
  HostResources,
  Inventory,
  NodeGpus,
  NodeRecord,
  PodRecord,
  PodRequest,
} from './model.ts';
import { ISOLATION_LEVELS, POLICY_NAMES } from './model.ts';
import { MAX_GPUS_PER_POD } from './request.ts';
import type { GpuKey, Resident } from './resident.ts';
import type { AffinityTerm } from './selector.ts';

/** Where a value is not what it should be, and what it should be. */
export interface RecordFault {
  /** Such as `residents[3].request.slicesPerGpu`. */
  readonly path: string;
  readonly what: string;
}

type Check = (value: unknown) => RecordFault | undefined;
/** A check for every field of a record, so that a new field cannot be forgotten here. */
type Fields<T> = { readonly [Name in keyof T]-?: Check };

const MAX_TEXT = 64 * 1024;
/** Names are shown to people; nothing in them may steer a terminal. */
const NAME = /^[\x21-\x7e]{1,520}$/;

/** The parts of a snapshot that hold records. */
export interface SnapshotRecords {
  readonly nodes: unknown;
  readonly residents: unknown;
  readonly pending: unknown;
  readonly markedUnhealthy: unknown;
  readonly mix: unknown;
}

/** The first fault of a snapshot's records, or undefined. */
export function findRecordFault(records: SnapshotRecords): RecordFault | undefined {
  return snapshotRecords(records);
}

function below(name: string, { path, what }: RecordFault): RecordFault {
  return { path: path === '' || path.startsWith('[') ? `${name}${path}` : `${name}.${path}`, what };
}

function here(what: string): RecordFault {
  return { path: '', what };
}

function object<T>(fields: Fields<T>): Check {
  const checks = Object.entries<Check>(fields);
  return (value) => {
    if (!isObject(value)) return here('must be an object');
    for (const [name, check] of checks) {
      const fault = check(Object.hasOwn(value, name) ? value[name] : undefined);
      if (fault !== undefined) return below(name, fault);
    }
    return undefined;
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function list(check: Check, most: number): Check {
  return (value) => {
    if (!Array.isArray(value)) return here('must be a list');
    if (value.length > most) return here(`has ${value.length} entries; there are at most ${most}`);
    for (let at = 0; at < value.length; at++) {
      const fault = check(value[at]);
      if (fault !== undefined) return below(`[${at}]`, fault);
    }
    return undefined;
  };
}

function optional(check: Check): Check {
  return (value) => (value === undefined ? undefined : check(value));
}

function whole(least: number, most: number): Check {
  return (value) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most
      ? undefined
      : here(`must be a whole number from ${least} to ${most}`);
}

function share(value: unknown): RecordFault | undefined {
  return typeof value === 'number' && value >= 0 && value <= 1 ? undefined : here('must be a number from 0 to 1');
}

function millis(value: unknown): RecordFault | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? undefined : here('must be a number');
}

function text(value: unknown): RecordFault | undefined {
  return typeof value === 'string' && value.length <= MAX_TEXT ? undefined : here('must be a text');
}

function nameOrNothing(value: unknown): RecordFault | undefined {
  return value === '' ? undefined : name(value);
}

function name(value: unknown): RecordFault | undefined {
  return typeof value === 'string' && NAME.test(value)
    ? undefined
    : here('must be a name of printable characters without spaces');
}

function truth(value: unknown): RecordFault | undefined {
  return typeof value === 'boolean' ? undefined : here('must be true or false');
}

function oneOf(...choices: readonly unknown[]): Check {
  return (value) => (choices.includes(value) ? undefined : here(`must be one of ${choices.join(', ')}`));
}

/** A union told apart by `kind`. */
function byKind(kinds: Readonly<Record<string, Check>>): Check {
  return (value) => {
    const kind = isObject(value) && typeof value['kind'] === 'string' ? value['kind'] : '';
    const check = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    return check === undefined ? below('kind', here(`must be one of ${Object.keys(kinds).join(', ')}`)) : check(value);
  };
}

const texts = list(text, 4096);
const count = whole(0, Number.MAX_SAFE_INTEGER);
const percent = whole(0, 100);

function labels(value: unknown): RecordFault | undefined {
  if (!isObject(value)) return here('must be an object');
  const wrong = Object.entries(value).find(([, each]) => typeof each !== 'string');
  return wrong === undefined ? undefined : below(wrong[0].slice(0, 80), here('must be a text'));
}

const host = object<HostResources>({ cpuMilli: count, memoryMiB: count });
const constraint = object<PodRequest['models']>({ allow: texts, deny: texts });
const gpuKey = object<GpuKey>({ uuid: text, index: whole(0, 9999) });
const gpuKeys = list(gpuKey, MAX_GPUS_PER_POD);

const gpu = object<Gpu>({
  uuid: name,
  index: whole(0, 1023),
  minor: whole(0, 1023),
  model: text,
  memoryMiB: count,
  // gpushare's unit may be a MiB, so its figures are bounded only by what a column holds.
  slices: whole(0, Math.max(MAX_SLICES_PER_GPU, 2 ** 31 - 1)),
  numa: whole(-1, 1023),
  health: oneOf('healthy', 'unhealthy'),
});

function inventory(value: unknown): RecordFault | undefined {
  const fault = inventoryFields(value);
  if (fault !== undefined) return fault;
  const { gpus, links } = value as Inventory;
  if (new Set(gpus.map(({ uuid }) => uuid)).size < gpus.length) return below('gpus', here('names a GPU twice'));
  const isSquare =
    links.length === 0 || (links.length === gpus.length && links.every((row) => row.length === gpus.length));
  return isSquare ? undefined : below('links', here('must have a row and a column for each GPU'));
}

const inventoryFields = object<Inventory>({
  unitMiB: whole(0, 1024 * 1024),
  isolation: optional(oneOf(...ISOLATION_LEVELS)),
  gpus: list(gpu, MAX_GPUS_PER_NODE),
  links: list(list(whole(0, 1000), MAX_GPUS_PER_NODE), MAX_GPUS_PER_NODE),
});

const nodeGpus = byKind({
  inventory: object<Extract<NodeGpus, { kind: 'inventory' }>>({
    kind: text,
    source: oneOf('gpuloom', 'gpushare'),
    inventory,
  }),
  none: () => undefined,
  closed: object<Extract<NodeGpus, { kind: 'closed' }>>({ kind: text, why: text }),
});

const nodeRecord = object<NodeRecord>({ name, uid: text, allocatable: host, gpus: nodeGpus, address: text });

const requirement = object<AffinityTerm['requirements'][number]>({
  key: text,
  operator: oneOf('in', 'notIn', 'exists', 'absent'),
  values: texts,
});
const term = optional(
  object<AffinityTerm>({ id: text, text, requirements: list(requirement, 1024), namespaces: texts }),
);

const request = object<PodRequest>({
  gpuCount: whole(1, MAX_GPUS_PER_POD),
  slicesPerGpu: whole(1, Number.MAX_SAFE_INTEGER),
  corePerGpu: percent,
  containers: list(
    object<ContainerDemand>({
      name: text,
      role: oneOf('main', 'init', 'sidecar'),
      slicesPerGpu: count,
      corePerGpu: count,
    }),
    1024,
  ),
  class: oneOf('online', 'batch'),
  gang: truth,
  models: constraint,
  uuids: texts,
  affinities: object<Affinities>({ required: term, forbidden: term, preferred: term, avoided: term }),
  policy: optional(oneOf(...POLICY_NAMES)),
  isolation: optional(oneOf(...ISOLATION_LEVELS)),
  host,
  hasSoftPreferences: truth,
});

const demand = byKind({
  none: () => undefined,
  request: object<Extract<GpuDemand, { kind: 'request' }>>({ kind: text, request }),
  invalid: object<Extract<GpuDemand, { kind: 'invalid' }>>({ kind: text, why: text }),
});

const claim = byKind({
  none: () => undefined,
  gpus: object<Extract<AllocationClaim, { kind: 'gpus' }>>({ kind: text, gpus: gpuKeys }),
  invalid: object<Extract<AllocationClaim, { kind: 'invalid' }>>({ kind: text, why: text }),
});

const podRecord = object<PodRecord>({
  uid: name,
  namespace: name,
  name,
  nodeName: nameOrNothing,
  createdSeconds: optional(whole(0, 2 ** 40)),
  terminal: truth,
  deleting: truth,
  labels,
  host,
  demand,
  claim,
});

const resident = object<Omit<Resident, 'positions'>>({
  uid: name,
  pod: podRecord,
  request: optional(request),
  nodeName: name,
  gpus: gpuKeys,
  state: oneOf('assumed', 'unknown', 'confirmed'),
  sinceMillis: millis,
});

const portable: Fields<PortableClass> = {
  cpuMilli: count,
  slicesPerGpu: count,
  corePerGpu: percent,
  gpuCount: whole(0, MAX_GPUS_PER_POD),
  models: constraint,
};

const shares = list(object<PortableShare>({ ...portable, share }), 1_000_000);
const learnedMix = object<LearnedMix>({
  seen: list(object<PortableClass>(portable), Number.MAX_SAFE_INTEGER),
  learned: count,
  reviewAt: count,
  version: count,
  typical: shares,
  whole: optional(shares),
});

/** A node name and the indices of its GPUs that are marked unhealthy. */
function marked(value: unknown): RecordFault | undefined {
  if (!Array.isArray(value) || value.length !== 2) return here('must be a node name and a list of GPU indices');
  const [nodeName, indices] = value as readonly unknown[];
  const fault = name(nodeName);
  if (fault !== undefined) return below('[0]', fault);
  const wrong = list(whole(0, 9999), 10_000)(indices);
  return wrong === undefined ? undefined : below('[1]', wrong);
}

const anyNumber = Number.MAX_SAFE_INTEGER;
const snapshotRecords = object<SnapshotRecords>({
  nodes: list(nodeRecord, anyNumber),
  residents: list(resident, anyNumber),
  pending: list(podRecord, anyNumber),
  markedUnhealthy: list(marked, anyNumber),
  mix: learnedMix,
});
