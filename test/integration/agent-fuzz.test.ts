// Whatever arrives over the plugin's socket or in a pod's annotations, the agent answers with a clear error or refuses; it
// stays up, and it starts nothing that it should not.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { loadDevicePluginApi } from '../../device-plugin/proto/services.ts';
import { seeded } from '../bench/bench-cluster.ts';
import { AgentStand, MEMORY } from '../support/agent-stand.ts';
import type { PluginEndpoint } from '../support/fake-kubelet-endpoint.ts';

const { Allocate, GetPreferredAllocation, PreStartContainer } = loadDevicePluginApi().devicePlugin;
/** INVALID_ARGUMENT, FAILED_PRECONDITION and, for what gRPC itself refuses, RESOURCE_EXHAUSTED. */
const REFUSALS = new Set([3, 9, 8]);

let stand: AgentStand;
afterEach(() => stand.stop());

async function start(binding: 'cdi' | 'env'): Promise<PluginEndpoint> {
  stand = await AgentStand.start(
    [16, 16].map((memory) => memory * 1024),
    seeded(4),
    { binding },
  );
  const { kubelet } = stand;
  await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 32, 'the plugin to register');
  const endpoint = kubelet.endpoint(MEMORY);
  if (endpoint === undefined) throw new Error('the plugin is registered');
  return endpoint;
}

/** The status code of a refusal; undefined where the call was granted. */
async function refusalOf(call: Promise<unknown>): Promise<number | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    const { code, details } = error as { readonly code: number; readonly details: string };
    expect(details.length).toBeGreaterThan(10);
    return code;
  }
}

const real = fc.record({ gpu: fc.nat(1), slot: fc.nat(15) }).map(({ gpu, slot }) => `GPU-${gpu}::${slot}`);
const oddId = fc.oneof(
  real,
  fc.string({ maxLength: 80 }),
  fc.constantFrom(
    '',
    'GPU-9::1',
    'GPU-0::99',
    'GPU-0::-1',
    'GPU-0::c3',
    '__proto__',
    'GPU-0-_-3',
    '../../etc::1',
    'x'.repeat(64),
  ),
);
const oddIds = fc.oneof(
  fc.array(oddId, { maxLength: 8 }),
  oddId.map((id) => [id, id]),
  fc.integer({ min: 100, max: 5000 }).map((size) => Array.from({ length: size }, (_, slot) => `GPU-0::${slot}`)),
);

describe.each(['cdi', 'env'] as const)('with %s binding, the agent', (binding) => {
  it('grants no start to ids that the kubelet has given to nobody', async () => {
    const endpoint = await start(binding);
    stand.bind({ name: 'waiting', slices: [3], gpus: [1] });
    await fc.assert(
      fc.asyncProperty(oddIds, async (devices_ids) => {
        const code = await refusalOf(endpoint.call(PreStartContainer, { devices_ids }));
        expect(REFUSALS).toContain(code);
      }),
      { numRuns: 60, seed: 21 },
    );
    expect(stand.kubelet.allocatable(MEMORY)).toBe(32);
  });

  it('answers Allocate of odd ids with a name that means nothing as yet, or refuses', async () => {
    const endpoint = await start(binding);
    await fc.assert(
      fc.asyncProperty(fc.array(oddIds, { maxLength: 3 }), async (lists) => {
        // Nobody waits in `env`; waiting for a pod costs 1.5 s, so one container in error is enough.
        const container_requests = lists.map((devices_ids) => ({ devices_ids }));
        if (binding === 'env') container_requests.unshift({ devices_ids: ['twice', 'twice'] });
        const call = endpoint.call(Allocate, { container_requests });
        const code = await refusalOf(call);
        if (code !== undefined) expect(REFUSALS).toContain(code);
        else for (const { envs } of (await call).container_responses) expect(envs).toEqual({});
      }),
      { numRuns: 60, seed: 22 },
    );
  });

  it('answers every question for a preference with ids that may be taken', async () => {
    const endpoint = await start(binding);
    stand.bind({ name: 'waiting', slices: [3], gpus: [1] });
    const size = fc.oneof(fc.constant(3), fc.integer({ min: -5, max: 0 }));
    await fc.assert(
      fc.asyncProperty(oddIds, fc.array(oddId, { maxLength: 3 }), size, async (available, must, allocation_size) => {
        const request = { available_deviceIDs: available, must_include_deviceIDs: must, allocation_size };
        const { container_responses } = await endpoint.call(GetPreferredAllocation, { container_requests: [request] });
        const chosen = container_responses[0]?.deviceIDs ?? ['none'];
        expect(chosen.filter((id) => !available.includes(id) && !must.includes(id))).toEqual([]);
      }),
      { numRuns: 40, seed: 23 },
    );
  });

  it('starts no pod whose allocation is malformed, whatever it holds', async () => {
    const odd = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom(
        '',
        '{}',
        '[]',
        'null',
        '{"v":1}',
        '{"v":1,"containers":[]}',
        '{"v":2,"containers":[{"gpus":[]}]}',
      ),
      fc.constantFrom(
        '{"v":1,"containers":[{"gpus":[{"uuid":"GPU-0"}]}]}',
        '{"v":1,"containers":[{"gpus":{"length":1}}]}',
      ),
      fc.constantFrom(annotationOf([0, 0]), annotationOf([7]), annotationOf([])),
      fc.constant(`{"v":1,"containers":[{"gpus":[${'{"uuid":"GPU-0","index":0},'.repeat(4000)}{}]}]}`),
    );
    await start(binding);
    let number = 0;
    await fc.assert(
      fc.asyncProperty(odd, async (annotation) => {
        const pod = stand.bind({ name: `p${number++}`, slices: [2], gpus: [], annotation });
        const started = await stand.kubelet.run(pod).then(
          () => true,
          () => false,
        );
        const given = started ? stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES'] : undefined;
        expect(given === undefined || annotation.includes(`"${given}"`)).toBe(true);
        stand.deletePod(pod.name);
        stand.kubelet.remove(pod.uid);
      }),
      { numRuns: 15, seed: 24 },
    );
    await stand.kubelet.run(stand.bind({ name: 'honest', slices: [2], gpus: [1] }));
  });

  it('keeps the last good GPUs when the inventory is garbled, and goes on serving', async () => {
    await start(binding);
    const file = join(stand.folder, 'gpus.yaml');
    const garbled = fc.oneof(fc.string(), fc.json(), fc.constantFrom('gpus: 3', 'gpus: [{}]', '%', ''));
    let slices = 32;
    await fc.assert(
      fc.asyncProperty(garbled, async (text) => {
        stand.warnings.length = 0;
        writeFileSync(file, text);
        await until(() => stand.warnings.some((warning) => warning.includes('last good content')));
        expect(stand.kubelet.allocatable(MEMORY)).toBe(slices);
        slices += 1;
        stand.writeGpus([16 * 1024, (slices - 16) * 1024]);
        await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === slices, 'the mended inventory');
      }),
      { numRuns: 6, seed: 25 },
    );
    await stand.kubelet.run(stand.bind({ name: 'honest', slices: [2], gpus: [1] }));
  });
});

async function until(what: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1000 && !what(); turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(what()).toBe(true);
}

function annotationOf(gpus: readonly number[]): string {
  const grants = gpus.map((index) => ({ uuid: `GPU-${index}`, index, slices: 1, core: 0 }));
  return JSON.stringify({ v: 1, containers: [{ name: 'c0', gpus: grants }] });
}
