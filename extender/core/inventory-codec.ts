// The node's inventory annotation, version 1: written by the node agent, read by the extender. One codec for both.
// Input is hostile until parsed: size, counts, ranges and grammar are checked, and an unknown version closes the node.

import type { Gpu, Inventory, IsolationLevel, NodeGpus } from './model.ts';
import { ISOLATION_LEVELS } from './model.ts';

export const INVENTORY_VERSION = 1;
export const MAX_INVENTORY_CHARACTERS: number = 64 * 1024;
export const MAX_GPUS_PER_NODE = 64;
export const MAX_SLICES_PER_GPU = 1_000_000;
const UUID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$/;
const MODEL = /^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/;

class Malformed extends Error {}

/** The annotation text for an inventory. */
export function encodeInventory(inventory: Inventory): string {
  return JSON.stringify({
    v: INVENTORY_VERSION,
    unitMiB: inventory.unitMiB,
    isolation: inventory.isolation,
    gpus: inventory.gpus,
    ...(inventory.links.length > 0 ? { links: inventory.links } : {}),
  });
}

/** Reads an annotation. `closed` says what is wrong with it; nothing of a malformed inventory is used. */
export function decodeInventory(text: string): NodeGpus {
  try {
    return { kind: 'inventory', source: 'gpuloom', inventory: parse(text) };
  } catch (error) {
    if (error instanceof Malformed || error instanceof SyntaxError) {
      return {
        kind: 'closed',
        why: `inventory annotation ${error instanceof Malformed ? error.message : 'is not JSON'}`,
      };
    }
    throw error;
  }
}

function parse(text: string): Inventory {
  if (text.length > MAX_INVENTORY_CHARACTERS)
    throw new Malformed(`is longer than ${MAX_INVENTORY_CHARACTERS} characters`);
  const raw = record(JSON.parse(text), 'the annotation');
  if (raw['v'] !== INVENTORY_VERSION) {
    throw new Malformed(`has version ${JSON.stringify(raw['v'])}; this extender reads version ${INVENTORY_VERSION}`);
  }
  const gpus = list(raw['gpus'], 'gpus', MAX_GPUS_PER_NODE).map(parseGpu);
  if (new Set(gpus.map(({ uuid }) => uuid)).size < gpus.length) throw new Malformed('names a GPU twice');
  const isolation = raw['isolation'] ?? 'none';
  if (!isIsolationLevel(isolation)) throw new Malformed('has an unknown isolation level');
  return {
    unitMiB: whole(raw['unitMiB'], 'unitMiB', 1, 1024 * 1024),
    isolation,
    gpus,
    links: parseLinks(raw['links'], gpus.length),
  };
}

function isIsolationLevel(value: unknown): value is IsolationLevel {
  return ISOLATION_LEVELS.some((level) => level === value);
}

function parseGpu(value: unknown, position: number): Gpu {
  const at = `gpus[${position}]`;
  const raw = record(value, at);
  const health = raw['health'] ?? 'healthy';
  if (health !== 'healthy' && health !== 'unhealthy') throw new Malformed(`has an unknown health at ${at}`);
  return {
    uuid: matching(raw['uuid'], UUID, `${at}.uuid`),
    index: whole(raw['index'], `${at}.index`, 0, 1023),
    minor: whole(raw['minor'] ?? raw['index'], `${at}.minor`, 0, 1023),
    model: matching(raw['model'], MODEL, `${at}.model`),
    memoryMiB: whole(raw['memoryMiB'], `${at}.memoryMiB`, 0, 2 ** 31 - 1),
    slices: whole(raw['slices'], `${at}.slices`, 0, MAX_SLICES_PER_GPU),
    numa: whole(raw['numa'] ?? -1, `${at}.numa`, -1, 1023),
    health,
  };
}

function parseLinks(value: unknown, gpuCount: number): readonly (readonly number[])[] {
  if (value === undefined) return [];
  const rows = list(value, 'links', gpuCount);
  if (rows.length !== gpuCount) throw new Malformed('has a link matrix of another size than its GPU list');
  return rows.map((row, at) => {
    const weights = list(row, `links[${at}]`, gpuCount);
    if (weights.length !== gpuCount) throw new Malformed('has a link matrix that is not square');
    return weights.map((weight) => whole(weight, `links[${at}]`, 0, 1000));
  });
}

function record(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Malformed(`lacks an object at ${at}`);
  return value as Record<string, unknown>;
}

function list(value: unknown, at: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new Malformed(`lacks a list at ${at}`);
  if (value.length > most) throw new Malformed(`has more than ${most} entries at ${at}`);
  return value as readonly unknown[];
}

function whole(value: unknown, at: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new Malformed(`needs a whole number from ${least} to ${most} at ${at}`);
  }
  return value;
}

function matching(value: unknown, pattern: RegExp, at: string): string {
  if (typeof value !== 'string' || value.length > 64 || !pattern.test(value))
    throw new Malformed(`has an unusable ${at}`);
  return value;
}
