// Files of arrival orders: one JSON object on each line, `{"trace", "seed", "nodes": [...], "pods": [...]}`, with 0-based
// data rows of the node list in tie-break order and of the pod list in order of arrival. Checked against both lists.

import type { ArrivalOrder } from '../workload.ts';
import { faultAt, quoted, TraceFault } from './fault.ts';
import { readLines } from './lines.ts';

/** Room for some ten million arrivals. */
const MAX_LINE_BYTES = 1 << 26;
const FORM = 'each line is {"trace": "…", "seed": 42, "nodes": [0, 1, …], "pods": [0, 1, …]}';

/** The order of one seed; of the only one in the file where `seed` is undefined. */
export async function readArrivals(
  file: string,
  seed: number | undefined,
  nodes: number,
  pods: number,
): Promise<{ readonly seed: number; readonly order: ArrivalOrder }> {
  const lineOf = new Map<number, number>();
  let found: { readonly seed: number; readonly order: ArrivalOrder } | undefined;
  await readLines(file, MAX_LINE_BYTES, (text, line) => {
    if (text.trim() === '') return;
    const itsSeed = seedOf(text) ?? seedField(parse(file, line, text), file, line);
    const known = lineOf.get(itsSeed);
    if (known !== undefined) {
      throw faultAt(file, line, `a second order of seed ${itsSeed}, as on line ${known}`, 'keep one of them');
    }
    lineOf.set(itsSeed, line);
    if (seed !== undefined && itsSeed !== seed) return;
    const record = parse(file, line, text);
    found = {
      seed: seedField(record, file, line),
      order: { nodes: permutation(record, file, line, nodes), pods: rows(record, 'pods', file, line, pods) },
    };
  });
  const seeds = [...lineOf.keys()].join(', ');
  if (seed === undefined && lineOf.size > 1) {
    throw new TraceFault(`${file}: it holds several orders; choose one with --seed: ${seeds}`);
  }
  if (found !== undefined) return found;
  if (lineOf.size === 0) throw faultAt(file, 1, 'no arrivals in the file', FORM);
  throw new TraceFault(`${file}: no arrivals of seed ${seed}; the file has seeds ${seeds}`);
}

/** The seeds in the file, in its order. */
export async function seedsIn(file: string): Promise<readonly number[]> {
  const seeds: number[] = [];
  await readLines(file, MAX_LINE_BYTES, (text, line) => {
    if (text.trim() !== '') seeds.push(seedOf(text) ?? seedField(parse(file, line, text), file, line));
  });
  return seeds;
}

/** The seed where it stands before the arrays, as published: saves parsing the orders of other seeds. */
function seedOf(text: string): number | undefined {
  const match = /^\{"trace": ?"[^"\\]*", ?"seed": ?(\d{1,10}), ?"nodes": ?\[/.exec(text.slice(0, 400));
  return match === null ? undefined : Number(match[1]);
}

function parse(file: string, line: number, text: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 120) : String(error);
    throw faultAt(file, line, `not JSON (${reason})`, FORM);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw faultAt(file, line, 'not a JSON object', FORM);
  }
  return new Map(Object.entries(value));
}

function seedField(record: ReadonlyMap<string, unknown>, file: string, line: number): number {
  const seed = record.get('seed');
  if (typeof seed === 'number' && Number.isSafeInteger(seed) && seed >= 0) return seed;
  throw faultAt(file, line, `"seed" is ${quoted(String(seed))}, not a whole number`, FORM);
}

function permutation(record: ReadonlyMap<string, unknown>, file: string, line: number, nodes: number): Int32Array {
  const order = rows(record, 'nodes', file, line, nodes);
  if (new Set(order).size !== order.length) {
    throw faultAt(file, line, '"nodes" names a row twice', 'list every row of the node list once');
  }
  if (order.length !== nodes) {
    const what = `"nodes" lists ${order.length} nodes, the node list has ${nodes}`;
    throw faultAt(file, line, what, 'use the node list that the arrivals were made for');
  }
  return order;
}

function rows(
  record: ReadonlyMap<string, unknown>,
  field: string,
  file: string,
  line: number,
  end: number,
): Int32Array {
  const value = record.get(field);
  if (!Array.isArray(value) || value.length === 0) throw faultAt(file, line, `"${field}" is not a list of rows`, FORM);
  return Int32Array.from(value, (row: unknown, at) => {
    if (typeof row === 'number' && Number.isInteger(row) && row >= 0 && row < end) return row;
    const what = `entry ${at} of "${field}" is ${quoted(String(row))}, but rows go from 0 to ${end - 1}`;
    throw faultAt(
      file,
      line,
      what,
      `use the ${field === 'nodes' ? 'node' : 'pod'} list that the arrivals were made for`,
    );
  });
}
