import { describe, expect, it } from 'vitest';

import { InventoryFileError, parseInventoryFile } from '../../device-plugin/inventory/file-parse.ts';

function problemsOf(text: string): string {
  try {
    parseInventoryFile(text, 'gpus.yaml');
    return '';
  } catch (error) {
    if (error instanceof InventoryFileError) return error.message;
    throw error;
  }
}

describe('the inventory file', () => {
  it('needs no more than a UUID and a size per GPU', () => {
    const { reading } = parseInventoryFile('gpus:\n  - {uuid: GPU-a, memoryMiB: 16384}\n', 'gpus.yaml');
    expect(reading.gpus).toEqual([
      {
        kind: 'readable',
        uuid: 'GPU-a',
        index: 0,
        minor: 0,
        model: 'unknown',
        memoryMiB: 16_384,
        pciBusId: '',
        numa: -1,
        mig: 'unsupported',
        ecc: { corrected: 0, uncorrected: 0 },
        memoryUsedMiB: undefined,
        smUtilisation: undefined,
        memoryUtilisation: undefined,
        processes: [],
      },
    ]);
  });

  it('may have no GPUs', () => {
    expect(parseInventoryFile('gpus: []', 'gpus.yaml').reading.gpus).toEqual([]);
  });

  it('says in its own words why a GPU is broken', () => {
    const { reading } = parseInventoryFile('gpus:\n  - {uuid: GPU-a, memoryMiB: 1, health: burnt}\n', 'gpus.yaml');
    expect(reading.gpus[0]).toMatchObject({ kind: 'unreadable', why: 'the inventory file says "burnt"' });
  });

  const GOOD = '  - uuid: GPU-a\n    memoryMiB: 1024\n';

  it.each([
    [
      'a typing error in a field',
      `gpus:\n${GOOD}    memoryMib: 5\n`,
      /line 4: gpus\[0\] has no field "memoryMib"; known fields are uuid,/,
    ],
    ['a missing size', 'gpus:\n  - uuid: GPU-a\n', /line 2: gpus\[0\].memoryMiB is missing; add it/],
    [
      'a size that is no number',
      'gpus:\n  - uuid: GPU-a\n    memoryMiB: 16Gi\n',
      /line 3: .*memoryMiB needs a whole number from 1/,
    ],
    [
      'a UUID that cannot be a device id',
      'gpus:\n  - uuid: "a b"\n    memoryMiB: 1\n',
      /line 2: .*uuid needs 1 to 53 letters/,
    ],
    ['a UUID that is there twice', `gpus:\n${GOOD}${GOOD}`, /line 4: uuid GPU-a is there twice/],
    [
      'an index that is there twice',
      `gpus:\n${GOOD}  - {uuid: b, memoryMiB: 1, index: 0}\n`,
      /line 4: index 0 is there twice/,
    ],
    [
      'a link to nowhere',
      `gpus:\n${GOOD}    links: {GPU-z: 5}\n`,
      /line 2: links to GPU-z, which is no other GPU of this file/,
    ],
    ['too strong a link', `gpus:\n${GOOD}    links: {GPU-z: 5000}\n`, /line 4: .*needs a whole number from 0 to 1000/],
    [
      'an unknown MIG mode',
      `gpus:\n${GOOD}    mig: on\n`,
      /line 4: .*mig is "on"; write enabled, disabled or unsupported/,
    ],
    ['a utilisation above 100', `gpus:\n${GOOD}    utilisation: {sm: 101}\n`, /line 4: .*utilisation.sm needs/],
    [
      'a process without a PID',
      `gpus:\n${GOOD}    processes: [{usedMemoryMiB: 1}]\n`,
      /line 4: .*processes\[0\].pid is missing/,
    ],
    ['a list where fields belong', '- GPU-a\n', /line 1: the file needs "name: value" lines/],
    ['fields where a list belongs', 'gpus: {a: 1}\n', /line 1: gpus needs a list/],
    ['an alias', `gpus:\n  - &a {uuid: GPU-a, memoryMiB: 1}\n  - *a\n`, /refers to another place; write/],
    ['broken YAML', 'gpus: [\n', /line \d: .*; check the YAML/],
    ['a size beyond reason', 'x'.repeat(1024 * 1024 + 1), /longer than 1048576 characters/],
  ])('refuses %s with the line and what to do', (_, text, expected) => {
    expect(problemsOf(text)).toMatch(expected);
  });

  it('tells all problems at once', () => {
    expect(problemsOf('gpus:\n  - {uuid: GPU-a}\n  - {memoryMiB: 5}\n').split('\n')).toHaveLength(3);
  });
});
