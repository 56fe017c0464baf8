// The kubelet's checkpoint in the formats of old and new kubelets, damaged, and absent.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { parseCheckpoint, readCheckpoint } from '../../device-plugin/kubelet/checkpoint.ts';

const directory = mkdtempSync(join(tmpdir(), 'gl-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const ENTRY = {
  PodUID: 'b7f0',
  ContainerName: 'c1',
  ResourceName: 'gpuloom.io/gpu-mem',
  AllocResp: Buffer.from('answer').toString('base64'),
};

function checkpoint(...entries: readonly unknown[]): string {
  const RegisteredDevices = { 'gpuloom.io/gpu-mem': ['a', 'b', 'c'], 'gone.io/x': null };
  return JSON.stringify({ Data: { PodDeviceEntries: entries, RegisteredDevices }, Checksum: 12_345 });
}

describe('the checkpoint', () => {
  it.each([
    ['before 1.20, a list', ['a', 'b', 'c']],
    ['since 1.20, a map by NUMA node', { '0': ['a'], '1': ['b', 'c'] }],
    ['since 1.20 without NUMA nodes', { '-1': ['a', 'b', 'c'] }],
  ])('with device ids as %s names pod UID, container and ids', (_format, DeviceIDs) => {
    const reading = parseCheckpoint(checkpoint({ ...ENTRY, DeviceIDs }));
    expect(reading).toEqual({
      kind: 'read',
      entries: [
        {
          podUid: 'b7f0',
          container: 'c1',
          resourceName: 'gpuloom.io/gpu-mem',
          deviceIds: ['a', 'b', 'c'],
          allocation: Buffer.from('answer'),
        },
      ],
      registered: new Map([
        ['gpuloom.io/gpu-mem', ['a', 'b', 'c']],
        ['gone.io/x', []],
      ]),
      problems: [],
    });
  });

  it('of a node without pods, where Go writes null, is read', () => {
    const text = '{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}';
    expect(parseCheckpoint(text)).toMatchObject({ kind: 'read', entries: [], problems: [] });
  });

  it('keeps its good entries when others are damaged, and says which', () => {
    const reading = parseCheckpoint(
      checkpoint({ ...ENTRY, DeviceIDs: ['a'] }, { ...ENTRY, DeviceIDs: { '0': 5 } }, 'x', {
        ...ENTRY,
        PodUID: 7,
        DeviceIDs: [],
      }),
    );
    expect(reading).toMatchObject({
      kind: 'read',
      entries: [{ deviceIds: ['a'] }],
      problems: [
        expect.stringContaining('entry 1'),
        expect.stringContaining('entry 2'),
        expect.stringContaining('entry 3'),
      ],
    });
  });

  it.each(['', '{', 'null', '[]', '{"Data":{"PodDeviceEntries":5}}', '"text"'])('of %j is unreadable', (text) => {
    expect(parseCheckpoint(text).kind).toBe('unreadable');
  });

  it('of anything at all is a reading and never an exception', () => {
    const json = fc.json({ maxDepth: 5 });
    const shaped = fc
      .array(fc.record({ PodUID: fc.anything(), DeviceIDs: fc.anything() }))
      .map((entries) => checkpoint(...entries));
    const readable = fc.oneof(
      json,
      shaped.filter((text) => typeof text === 'string'),
      fc.string(),
    );
    fc.assert(
      fc.property(readable, (text) => {
        expect(['read', 'unreadable']).toContain(parseCheckpoint(text).kind);
      }),
      { seed: 13, numRuns: 500 },
    );
  });

  it('on disk is read, missing or unreadable', async () => {
    const path = join(directory, 'kubelet_internal_checkpoint');
    expect(await readCheckpoint(path)).toEqual({ kind: 'missing' });
    writeFileSync(path, checkpoint({ ...ENTRY, DeviceIDs: ['a'] }));
    expect(await readCheckpoint(path)).toMatchObject({ kind: 'read', entries: [{ podUid: 'b7f0' }] });
    expect(await readCheckpoint(directory)).toMatchObject({ kind: 'unreadable' });
  });
});
