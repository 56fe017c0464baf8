import { describe, expect, it } from 'vitest';
import type { ContainerManifest } from '../../extender/core/manifest.ts';
import { gpuDemand, hostRequest } from '../../extender/core/request.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import { podManifest, type PodSketch } from '../support/builders.ts';

const MEM = 'gpuloom.io/gpu-mem';
const CORE = 'gpuloom.io/gpu-core';

function container(
  name: string,
  slices: number,
  extra: Partial<ContainerManifest> = {},
  core?: number,
): ContainerManifest {
  return {
    name,
    resources: { limits: { [MEM]: String(slices), ...(core === undefined ? {} : { [CORE]: String(core) }) } },
    ...extra,
  };
}

function demandOf(sketch: PodSketch) {
  return gpuDemand(podManifest(sketch), PROFILES.gpuloom);
}

describe('the GPU request of a pod', () => {
  it.each([
    ['two containers are summed', [], [container('a', 3), container('b', 5)], 8],
    ['an init container counts by the maximum', [container('i', 9)], [container('a', 3), container('b', 5)], 9],
    ['a small init container costs nothing', [container('i', 2)], [container('a', 3)], 3],
    [
      'a sidecar is summed with the main containers',
      [container('s', 2, { restartPolicy: 'Always' })],
      [container('a', 3)],
      5,
    ],
    [
      'an init container runs beside the sidecars declared before it',
      [container('s', 2, { restartPolicy: 'Always' }), container('i', 6)],
      [container('a', 3)],
      8,
    ],
    [
      'an init container does not run beside a sidecar declared after it',
      [container('i', 6), container('s', 2, { restartPolicy: 'Always' })],
      [container('a', 3)],
      6,
    ],
  ])('%s', (_, initContainers, containers, slices) => {
    const demand = gpuDemand(
      { metadata: { name: 'p', uid: 'u' }, spec: { initContainers, containers } },
      PROFILES.gpuloom,
    );
    expect(demand).toMatchObject({ kind: 'request', request: { slicesPerGpu: slices } });
  });

  it('splits the request evenly over the GPUs of the count label', () => {
    expect(demandOf({ name: 'p', slices: 12, core: 200, count: 4 })).toMatchObject({
      request: { gpuCount: 4, slicesPerGpu: 3, corePerGpu: 50 },
    });
  });

  it('counts CPU and memory with overhead by the formula of Kubernetes', () => {
    const host = hostRequest({
      spec: {
        overhead: { cpu: '250m', memory: '64Mi' },
        initContainers: [{ name: 'i', resources: { requests: { cpu: '3' } } }],
        containers: [
          { name: 'a', resources: { requests: { cpu: '500m', memory: '1Gi' } } },
          { name: 'b', resources: { limits: { cpu: '1' } } },
        ],
      },
    });
    expect(host).toEqual({ cpuMilli: 3250, memoryMiB: 1088 });
  });

  it('is none where no container names the resources', () => {
    expect(demandOf({ name: 'p', slices: 0 })).toEqual({ kind: 'none' });
  });

  it.each<[string, PodSketch, RegExp]>([
    [
      'memory that does not divide',
      { name: 'p', slices: 5, count: 2 },
      /does not divide by gpuloom.io\/gpu-count 2; ask 4 or 6/,
    ],
    ['compute over one GPU', { name: 'p', slices: 4, core: 150 }, /150 percent per GPU; a GPU has 100/],
    ['a count of nothing', { name: 'p', count: 0 }, /whole number from 1 to 64/],
    ['an unknown class', { name: 'p', labels: { 'gpuloom.io/class': 'spot' } }, /write online or batch/],
    [
      'a misspelt annotation',
      { name: 'p', annotations: { 'gpuloom.io/gpu-modle': 'T4' } },
      /unknown annotation gpuloom.io\/gpu-modle; known/,
    ],
    ['a misspelt label', { name: 'p', labels: { 'gpuloom.io/gpus': '2' } }, /unknown label gpuloom.io\/gpus; known/],
    [
      'an unknown policy',
      { name: 'p', annotations: { 'gpuloom.io/placement': 'tight' } },
      /write fragmentation, binpack/,
    ],
    [
      'an unknown isolation level',
      { name: 'p', annotations: { 'gpuloom.io/isolation': 'MPS' } },
      /gpuloom.io\/isolation is "MPS"; write none, mps/,
    ],
    [
      'a model both asked and excluded',
      { name: 'p', annotations: { 'gpuloom.io/gpu-model': 'T4|!T4' } },
      /both asks and excludes/,
    ],
    [
      'a selector that is none',
      { name: 'p', annotations: { 'gpuloom.io/gpu-affinity': 'app in web' } },
      /unreadable part/,
    ],
  ])('refuses %s and says how to mend the pod', (_, sketch, why) => {
    const demand = demandOf(sketch);
    expect(demand.kind === 'invalid' ? demand.why : demand.kind).toMatch(why);
  });

  it.each([
    ['fractions', '1.5'],
    ['negatives', '-1'],
    ['words', 'many'],
    ['numbers beyond any cluster', '1e30'],
  ])('refuses %s as a number of slices', (_, amount) => {
    const demand = gpuDemand(
      { metadata: { name: 'p' }, spec: { containers: [{ name: 'main', resources: { limits: { [MEM]: amount } } }] } },
      PROFILES.gpuloom,
    );
    expect(demand).toMatchObject({
      kind: 'invalid',
      why: expect.stringMatching(/write a whole number of units/) as string,
    });
  });

  it('refuses a pod that names the resource with zero slices only, since no bind could ever succeed', () => {
    const demand = gpuDemand(
      { metadata: { name: 'p' }, spec: { containers: [{ name: 'main', resources: { limits: { [MEM]: '0' } } }] } },
      PROFILES.gpuloom,
    );
    expect(demand).toMatchObject({ kind: 'invalid', why: expect.stringMatching(/at least 1 slice/) as string });
  });

  it('refuses compute without memory', () => {
    const demand = gpuDemand(
      { metadata: { name: 'p' }, spec: { containers: [{ name: 'main', resources: { limits: { [CORE]: '30' } } }] } },
      PROFILES.gpuloom,
    );
    expect(demand).toMatchObject({
      kind: 'invalid',
      why: expect.stringMatching(/without gpuloom.io\/gpu-mem/) as string,
    });
  });

  it.each([
    ['koordinator.sh/qosClass', 'BE', 'batch'],
    ['koordinator.sh/qosClass', 'LS', 'online'],
    ['katalyst.kubewharf.io/qos_level', 'reclaimed_cores', 'batch'],
  ])('reads the class marker %s=%s of another system as %s', (key, value, className) => {
    expect(demandOf({ name: 'p', labels: { [key]: value } })).toMatchObject({ request: { class: className } });
  });

  it('reads the gpushare names in the gpushare profile', () => {
    const manifest = podManifest({ name: 'p', slices: 6, count: 2 }, PROFILES.gpushare);
    expect(gpuDemand(manifest, PROFILES.gpushare)).toMatchObject({ request: { gpuCount: 2, slicesPerGpu: 3 } });
  });

  it('marks pods with soft in-tree preferences, and only those, as needing every feasible node', () => {
    const preferred = { preferredDuringSchedulingIgnoredDuringExecution: [{}] };
    const required = { requiredDuringSchedulingIgnoredDuringExecution: [{}] };
    const withSpec = (extra: object) => {
      const manifest = podManifest({ name: 'p' });
      return gpuDemand({ ...manifest, spec: { ...manifest.spec, ...extra } }, PROFILES.gpuloom);
    };
    for (const [extra, expected] of [
      [{ affinity: { nodeAffinity: preferred } }, true],
      [{ affinity: { podAffinity: preferred } }, true],
      [{ affinity: { podAntiAffinity: preferred } }, true],
      [{ topologySpreadConstraints: [{ whenUnsatisfiable: 'ScheduleAnyway' }] }, true],
      [{ affinity: { podAffinity: required, nodeAffinity: required } }, false],
      [{ topologySpreadConstraints: [{ whenUnsatisfiable: 'DoNotSchedule' }] }, false],
    ] as const) {
      expect(withSpec(extra)).toMatchObject({ request: { hasSoftPreferences: expected } });
    }
  });
});
