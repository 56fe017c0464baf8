// What the real kube-scheduler sends, kept as fixtures for the fast tests in test/contract/extender-golden.test.ts.
// Without a flag this checks that the stored bodies still have the fields that kube-scheduler sends today.
// To write them anew: GPULOOM_CAPTURE=1 npm run e2e -- golden

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { gpusOf } from '../support/builders.ts';
import { podsPath } from './cluster.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { schedulerConfigFile } from './installation.ts';
import { eventually } from './process.ts';
import type { RecordedCall } from './recording-proxy.ts';
import { RecordingProxy } from './recording-proxy.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/extender-requests');
const IS_CAPTURING = (process.env['GPULOOM_CAPTURE'] ?? '') !== '';
const NODES = [
  { name: 'large', gpus: gpusOf(2, 80, 'A100') },
  { name: 'small', gpus: gpusOf(1, 16, 'T4') },
  { name: 'unequal', gpus: [...gpusOf(1, 24, 'A10'), ...gpusOf(1, 40, 'A100')] },
];

/** Both ways of telling the extender about nodes: by name, or whole. */
const FORMS = [
  { form: 'names', nodeCacheCapable: true },
  { form: 'nodes', nodeCacheCapable: false },
] as const;

let cluster: GpuCluster;
let extender: ExtenderProcess;

beforeAll(async () => {
  cluster = await GpuCluster.start({ nodes: NODES });
  extender = await cluster.startExtender('extender', ['--no-leader-election']);
  await extender.untilReady();
});
afterAll(() => cluster.stop());
beforeEach(() => cluster.reportLogsOnFailure());

test.each(FORMS)('the stored bodies are what kube-scheduler sends with $form', async ({ form, nodeCacheCapable }) => {
  const { plane } = cluster;
  const proxy = await RecordingProxy.start(extender.verbsOrigin);
  const configFile = join(plane.dir, `scheduler-${form}.yaml`);
  const shipped = await readFile(schedulerConfigFile(plane), 'utf8');
  await writeFile(configFile, shipped.replace('nodeCacheCapable: true', `nodeCacheCapable: ${nodeCacheCapable}`));
  const scheduler = await cluster.startScheduler({ extenderOrigin: proxy.origin, configFile });
  const fits = `fits-${form}`;
  const refused = `refused-${form}`;
  await plane.admin.create(
    podsPath('default'),
    trainingPod(fits, { 'gpuloom.io/gpu-mem': '8', 'gpuloom.io/gpu-core': '30' }),
  );
  await plane.admin.create(
    podsPath('default'),
    trainingPod(refused, { 'gpuloom.io/gpu-mem': '60' }, { 'gpuloom.io/gpu-model': 'T4' }),
  );
  const wanted = [
    ['filter', '/v1/filter', fits],
    ['filter-refused', '/v1/filter', refused],
    ['prioritize', '/v1/prioritize', fits],
    ['bind', '/v1/bind', fits],
  ] as const;
  const isComplete = (): Promise<boolean> =>
    Promise.resolve(wanted.every(([, path, pod]) => proxy.callFor(path, pod) !== undefined));
  expect(await eventually(isComplete, 30_000)).toBe(true);
  await scheduler.stop();
  proxy.stop();
  for (const [name, path, pod] of wanted) await compare(`${name}-${form}.json`, proxy.callFor(path, pod));
});

/** The captured call against its fixture; or, when capturing, the fixture written from it. */
async function compare(file: string, call: RecordedCall | undefined): Promise<void> {
  if (call === undefined) throw new Error(`nothing was recorded for ${file}`);
  expect(call.status).toBe(200);
  const { path, contentType, body } = call;
  const stored = { kubernetes: `1.${cluster.plane.minor}`, path, contentType, body };
  if (IS_CAPTURING) {
    await mkdir(FIXTURES, { recursive: true });
    await writeFile(join(FIXTURES, file), `${JSON.stringify(stored, null, 2)}\n`);
  }
  const known = JSON.parse(await readFile(join(FIXTURES, file), 'utf8')) as typeof stored;
  if (known.kubernetes !== stored.kubernetes) return;
  expect(fieldsOf(stored)).toEqual(fieldsOf(known));
}

/** Every field of a JSON value by its path, with its type; entries of lists count as one. */
function fieldsOf(value: unknown, at = ''): readonly string[] {
  if (typeof value !== 'object' || value === null) return [`${at}: ${value === null ? 'null' : typeof value}`];
  // Which fields somebody manages, and when, is the API server's bookkeeping and differs from run to run.
  if (at.endsWith('.managedFields')) return [at];
  const entries = Array.isArray(value) ? value.map((entry) => ['', entry] as const) : Object.entries(value);
  const nested = entries.flatMap(([key, child]) => fieldsOf(child, `${at}.${key}`));
  return [...new Set(nested)].sort((a, b) => (a < b ? -1 : 1));
}

/** A pod with the parts that make real pods long: init containers, probes, affinity, tolerations, spreading. */
function trainingPod(name: string, gpu: Readonly<Record<string, string>>, annotations = {}): Record<string, unknown> {
  return {
    metadata: { name, labels: { app: 'trainer', 'gpuloom.io/class': 'batch' }, annotations },
    spec: {
      schedulerName: 'gpuloom',
      initContainers: [{ name: 'fetch', image: 'none', resources: { requests: { cpu: '100m', memory: '64Mi' } } }],
      containers: [
        {
          name: 'main',
          image: 'none',
          env: [{ name: 'EPOCHS', value: '3' }],
          ports: [{ containerPort: 8080 }],
          readinessProbe: { httpGet: { path: '/ready', port: 8080 } },
          resources: { limits: { cpu: '2', memory: '1Gi', ...gpu } },
        },
        { name: 'log', image: 'none', resources: { requests: { cpu: '10m' } } },
      ],
      affinity: {
        nodeAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 1, preference: { matchExpressions: [{ key: 'zone', operator: 'In', values: ['a'] }] } },
          ],
        },
      },
      topologySpreadConstraints: [
        {
          maxSkew: 5,
          topologyKey: 'kubernetes.io/hostname',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: { matchLabels: { app: 'trainer' } },
        },
      ],
    },
  };
}
