// The YAML of `--inventory file:PATH`: GPUs as a person writes them down, checked field by field. Pure.
// Every problem is reported with its line and what to write instead; a file with a problem gives no reading at all.

import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { Node } from 'yaml';

import { cleanModel, isUsableUuid, MAX_UUID_CHARACTERS } from './gpu-identity.ts';
import type { GpuLink, GpuProcess, GpuReading, InventoryReading, MigMode, Utilisation } from './source.ts';

export const FILE_NAME = 'file';
export const MAX_FILE_CHARACTERS: number = 1024 * 1024;
const MAX_GPUS = 64;

/** The last XID that the file says a GPU had: a new or another number is an event. */
export interface FileReading {
  readonly reading: InventoryReading;
  readonly xids: ReadonlyMap<string, number>;
}

/** All that is wrong with a file, one line each. */
export class InventoryFileError extends Error {
  constructor(path: string, problems: readonly string[]) {
    super(`${path} is not a usable inventory:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'InventoryFileError';
  }
}

export function parseInventoryFile(text: string, path: string): FileReading {
  if (text.length > MAX_FILE_CHARACTERS) {
    throw new InventoryFileError(path, [`longer than ${MAX_FILE_CHARACTERS} characters; describe fewer GPUs`]);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const problems = document.errors.map(({ linePos, message }) => {
    return `line ${linePos?.[0].line ?? 1}: ${message.split('\n')[0]?.replace(/ at line .*$/, '') ?? ''}; check the YAML`;
  });
  if (problems.length > 0) throw new InventoryFileError(path, problems);
  const check = new Check(lines, problems);
  const top = check.map(document.contents, ['driver', 'gpus'], 'the file');
  const gpus = check.list(top.get('gpus'), 'gpus').map((node, index) => parseGpu(check, node, index));
  checkTogether(check, gpus);
  if (problems.length > 0) throw new InventoryFileError(path, problems);
  const driverVersion = check.text(top.get('driver'), 'driver') ?? 'file';
  return {
    reading: {
      source: FILE_NAME,
      driverVersion,
      gpus: gpus.map(({ gpu }) => gpu).toSorted((a, b) => a.index - b.index),
      links: gpus.flatMap(({ links }) => links),
    },
    xids: new Map(gpus.flatMap(({ gpu, xid }) => (xid === undefined ? [] : [[gpu.uuid ?? '', xid] as const]))),
  };
}

interface ParsedGpu {
  readonly node: Node;
  readonly gpu: GpuReading;
  readonly links: readonly GpuLink[];
  readonly xid: number | undefined;
}

const GPU_KEYS = [
  'uuid',
  'index',
  'minor',
  'model',
  'memoryMiB',
  'pciBusId',
  'numa',
  'mig',
  'health',
  'xid',
  'doubleBitErrors',
  'memoryUsedMiB',
  'utilisation',
  'processes',
  'links',
] as const;
type GpuFields = ReadonlyMap<string, Node>;

function parseGpu(check: Check, node: Node, position: number): ParsedGpu {
  const at = `gpus[${position}]`;
  const fields = check.map(node, GPU_KEYS, at);
  const uuid = check.required(fields, node, 'uuid', `${at}.uuid`, (value) => check.uuid(value, `${at}.uuid`)) ?? '';
  const size = (value: Node): number | undefined => check.whole(value, `${at}.memoryMiB`, 1, 2 ** 31 - 1);
  const memoryMiB = check.required(fields, node, 'memoryMiB', `${at}.memoryMiB`, size) ?? 0;
  const index = check.whole(fields.get('index'), `${at}.index`, 0, 1023) ?? position;
  const place = { uuid, index, pciBusId: check.text(fields.get('pciBusId'), `${at}.pciBusId`) ?? '' };
  const health = check.text(fields.get('health'), `${at}.health`) ?? 'ok';
  return {
    node,
    gpu:
      health === 'ok'
        ? { kind: 'readable', ...place, memoryMiB, ...parseProperties(check, fields, at, index) }
        : { kind: 'unreadable', ...place, why: `the inventory file says ${JSON.stringify(health.slice(0, 200))}` },
    links: parseLinks(check, fields.get('links'), `${at}.links`, uuid),
    xid: check.whole(fields.get('xid'), `${at}.xid`, 1, 1023),
  };
}

type Properties = Omit<Extract<GpuReading, { kind: 'readable' }>, 'kind' | 'uuid' | 'index' | 'pciBusId' | 'memoryMiB'>;

function parseProperties(check: Check, fields: GpuFields, at: string, index: number): Properties {
  const utilisation = check.map(fields.get('utilisation'), ['sm', 'memory'], `${at}.utilisation`);
  const doubleBitErrors = check.whole(fields.get('doubleBitErrors'), `${at}.doubleBitErrors`, 0, 2 ** 31 - 1);
  const processes = fields.get('processes');
  return {
    minor: check.whole(fields.get('minor'), `${at}.minor`, 0, 1023) ?? index,
    model: cleanModel(check.text(fields.get('model'), `${at}.model`) ?? ''),
    numa: check.whole(fields.get('numa'), `${at}.numa`, -1, 1023) ?? -1,
    mig: parseMig(check, fields.get('mig'), `${at}.mig`),
    ecc: { corrected: 0, uncorrected: doubleBitErrors ?? 0 },
    memoryUsedMiB: check.whole(fields.get('memoryUsedMiB'), `${at}.memoryUsedMiB`, 0, 2 ** 31 - 1),
    smUtilisation: parsePercent(check, utilisation.get('sm'), `${at}.utilisation.sm`),
    memoryUtilisation: parsePercent(check, utilisation.get('memory'), `${at}.utilisation.memory`),
    processes: check
      .list(processes, `${at}.processes`)
      .flatMap((process, each) => parseProcess(check, process, `${at}.processes[${each}]`)),
  };
}

function parsePercent(check: Check, node: Node | undefined, at: string): Utilisation | undefined {
  const percent = check.whole(node, at, 0, 100);
  return percent === undefined ? undefined : { percent, source: FILE_NAME };
}

function parseMig(check: Check, node: Node | undefined, at: string): MigMode {
  const text = check.text(node, at) ?? 'unsupported';
  if (text === 'unsupported' || text === 'disabled' || text === 'enabled') return text;
  check.problem(node, `${at} is ${JSON.stringify(text)}; write enabled, disabled or unsupported`);
  return 'unsupported';
}

function parseProcess(check: Check, node: Node, at: string): readonly GpuProcess[] {
  const fields = check.map(node, ['pid', 'usedMemoryMiB'], at);
  const pid = check.required(fields, node, 'pid', `${at}.pid`, (value) => check.whole(value, `${at}.pid`, 1, 2 ** 31));
  const usedMemoryMiB = check.whole(fields.get('usedMemoryMiB'), `${at}.usedMemoryMiB`, 0, 2 ** 31 - 1);
  return pid === undefined ? [] : [{ pid, usedMemoryMiB }];
}

function parseLinks(check: Check, node: Node | undefined, at: string, uuid: string): readonly GpuLink[] {
  return [...check.map(node, undefined, at)].map(([other, weight]) => ({
    between: [uuid, other],
    weight: check.whole(weight, `${at}.${other}`, 0, 1000) ?? 0,
  }));
}

/** What only shows when all GPUs are known. */
function checkTogether(check: Check, gpus: readonly ParsedGpu[]): void {
  const uuids = new Set<string | undefined>();
  const indexes = new Set<number>();
  if (gpus.length > MAX_GPUS) check.problem(gpus[MAX_GPUS]?.node, `a node has at most ${MAX_GPUS} GPUs; remove some`);
  for (const { node, gpu } of gpus) {
    if (uuids.has(gpu.uuid)) check.problem(node, `uuid ${gpu.uuid ?? ''} is there twice; give each GPU its own`);
    if (indexes.has(gpu.index)) check.problem(node, `index ${gpu.index} is there twice; give each GPU its own`);
    uuids.add(gpu.uuid);
    indexes.add(gpu.index);
  }
  for (const { node, links } of gpus) {
    for (const { between } of links) {
      const [from, to] = between;
      if (from === to || !uuids.has(to)) check.problem(node, `links to ${to}, which is no other GPU of this file`);
    }
  }
}

/** Reads nodes of the document and collects problems with their lines. */
class Check {
  readonly #lines: LineCounter;
  readonly #problems: string[];

  constructor(lines: LineCounter, problems: string[]) {
    this.#lines = lines;
    this.#problems = problems;
  }

  problem(node: Node | undefined, what: string): void {
    const line = node?.range === undefined || node.range === null ? 1 : this.#lines.linePos(node.range[0]).line;
    this.#problems.push(`line ${line}: ${what}`);
  }

  /** Fields by name; empty where there is nothing. Names outside `known` are problems. */
  map(node: Node | null | undefined, known: readonly string[] | undefined, at: string): GpuFields {
    const fields = new Map<string, Node>();
    if (node === undefined) return fields;
    if (!isMap(node)) {
      this.problem(node ?? undefined, `${at} needs "name: value" lines`);
      return fields;
    }
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '';
      const place = isScalar(key) ? key : node;
      if (known !== undefined && !known.includes(name)) {
        this.problem(place, `${at} has no field ${JSON.stringify(name)}; known fields are ${known.join(', ')}`);
      } else if (isNode(value)) fields.set(name, value);
      else if (value !== null) this.problem(place, `${at}.${name} refers to another place; write its value out`);
    }
    return fields;
  }

  list(node: Node | undefined, at: string): readonly Node[] {
    if (node === undefined || isEmpty(node)) return [];
    if (isSeq(node) && node.items.every(isNode)) return node.items;
    if (isSeq(node)) this.problem(node, `${at} refers to another place; write its entries out`);
    else this.problem(node, `${at} needs a list, each entry starting with "- "`);
    return [];
  }

  required<T>(
    fields: GpuFields,
    parent: Node,
    name: string,
    at: string,
    parse: (node: Node) => T | undefined,
  ): T | undefined {
    const node = fields.get(name);
    if (node !== undefined && !isEmpty(node)) return parse(node);
    this.problem(parent, `${at} is missing; add it`);
    return undefined;
  }

  text(node: Node | undefined, at: string): string | undefined {
    if (node === undefined || isEmpty(node)) return undefined;
    if (isScalar(node) && (typeof node.value === 'string' || typeof node.value === 'number')) return String(node.value);
    this.problem(node, `${at} needs text`);
    return undefined;
  }

  whole(node: Node | undefined, at: string, least: number, most: number): number | undefined {
    if (node === undefined || isEmpty(node)) return undefined;
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
    this.problem(node, `${at} needs a whole number from ${least} to ${most}`);
    return undefined;
  }

  uuid(node: Node, at: string): string | undefined {
    const text = this.text(node, at);
    if (text === undefined || isUsableUuid(text)) return text;
    this.problem(node, `${at} needs 1 to ${MAX_UUID_CHARACTERS} letters, digits, "-", "_" or ".", such as GPU-1`);
    return undefined;
  }
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value);
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && node.value === null;
}
