// The announced list: its exact size, its limits, and the answer to a preference question.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkDeviceList,
  deviceMessages,
  LIST_LIMIT_BYTES,
  listAndWatchBytes,
} from '../../device-plugin/kubelet/device-list.ts';
import { completedPreference } from '../../device-plugin/kubelet/handlers.ts';
import { loadDevicePluginApi } from '../../device-plugin/proto/services.ts';
import { MEMORY, slices } from '../support/plugin-bench.ts';

const LETTERS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const device = fc.record(
  {
    id: fc.string({ minLength: 1, maxLength: 63, unit: 'binary' }),
    healthy: fc.boolean(),
    numaNode: fc.integer({ min: -1, max: 100_000 }),
  },
  { requiredKeys: ['id', 'healthy'] },
);

describe('the device list', () => {
  it('has exactly the size that is computed for it', () => {
    const encode = loadDevicePluginApi().devicePlugin.ListAndWatch.responseSerialize;
    fc.assert(
      fc.property(fc.array(device), (devices) => {
        expect(listAndWatchBytes(devices)).toBe(encode({ devices: deviceMessages(devices) }).length);
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  it('of eight large GPUs in MiB is refused with the unit that would do', () => {
    const list = slices(8 * 81_559, 'GPU-5d2a6e2e-9b1c-4f3a-8a57-0123456789ab', 1);
    const times = Math.ceil(listAndWatchBytes(list) / LIST_LIMIT_BYTES);
    expect(() => {
      checkDeviceList(MEMORY, list);
    }).toThrow(new RegExp(`gpuloom.io/gpu-mem \\(652472 devices\\).*slice unit at least ${times} times as large`));
  });

  it('of eight large GPUs in 256 MiB slices is far below the limit', () => {
    const list = slices(8 * 319, 'GPU-5d2a6e2e-9b1c-4f3a-8a57-0123456789ab', 1);
    checkDeviceList(MEMORY, list);
    expect(listAndWatchBytes(list)).toBeLessThan(LIST_LIMIT_BYTES / 8);
  });

  it.each([
    ['an id of 64 characters', [{ id: 'x'.repeat(64), healthy: true }], /64 characters/],
    ['an empty id', [{ id: '', healthy: true }], /0 characters/],
    ['the same id twice', [...slices(2), ...slices(1)], /"GPU-0::0".*twice/],
  ])('with %s is refused', (_what, list, message) => {
    expect(() => {
      checkDeviceList(MEMORY, list);
    }).toThrow(message);
  });
});

describe('a preference', () => {
  const ids = fc.array(fc.constantFrom(...LETTERS), { maxLength: 8 });

  it('always holds what it must, only what it may, in the size that was asked for', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.constantFrom(...LETTERS)),
        ids,
        fc.nat(8),
        fc.nat(8),
        (available, preferred, must, size) => {
          const mustInclude = available.slice(0, must);
          const answer = completedPreference({ available, mustInclude, size }, preferred);
          expect(answer.slice(0, mustInclude.length)).toEqual(mustInclude);
          expect(answer.every((id) => available.includes(id))).toBe(true);
          expect(new Set(answer).size).toBe(answer.length);
          expect(answer.length).toBe(Math.max(mustInclude.length, Math.min(size, available.length)));
        },
      ),
      { seed: 5, numRuns: 500 },
    );
  });

  it('takes the owner’s ids in the owner’s order and fills the rest from what is available', () => {
    const question = { available: ['a', 'b', 'c', 'd'], mustInclude: ['d'], size: 3 };
    expect(completedPreference(question, ['c', 'unknown', 'a', 'b'])).toEqual(['d', 'c', 'a']);
    expect(completedPreference(question, [])).toEqual(['d', 'a', 'b']);
  });

  it('answers impossible questions too', () => {
    expect(completedPreference({ available: [], mustInclude: [], size: -5 }, ['a'])).toEqual([]);
    expect(completedPreference({ available: ['a'], mustInclude: ['x', 'x'], size: 0 }, [])).toEqual(['x']);
  });
});
