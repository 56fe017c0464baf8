// Every metric of the extender: name, type, labels and help in one place, on a registry of its own.
// State that lives elsewhere is pulled at scrape time through `MetricSources`; nothing here keeps a copy of it.
// Rendering yields to the event loop between batches of GPUs, so that a scrape of a big cluster does not delay a verb.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';

export interface GpuUsage {
  readonly node: string;
  /** Index of the GPU on its node, as text. */
  readonly gpu: string;
  readonly allocatedSlices: number;
  readonly capacitySlices: number;
}

/** Read at scrape time only. Each must be cheap and synchronous. */
export interface MetricSources {
  /** Number of reservations by state, such as `assumed` and `unknown`. */
  reservations(): Iterable<readonly [state: string, count: number]>;
  /** Differences between the ledger and a rebuild from the API; anything but 0 is a defect. */
  ledgerDrift(): number;
  /** Seconds since each feed last heard from the API server. */
  apiStalenessSeconds(): Iterable<readonly [feed: string, seconds: number]>;
  gpus(): readonly GpuUsage[];
  shapeCache(): { readonly size: number; readonly hits: number; readonly misses: number };
  /** When the serving certificate ends, in milliseconds since the epoch; `undefined` without TLS. */
  tlsCertExpiryMillis(): number | undefined;
}

export type VerbLabel = 'filter' | 'prioritize' | 'bind';
export type RefusedConnection = 'capacity' | 'tls' | 'client-name';

export interface Metrics {
  observeVerb(verb: VerbLabel, seconds: number): void;
  countVerbError(verb: VerbLabel): void;
  /** `code` is a stable rejection code from a closed set, never free text. */
  countRejection(code: string, nodes?: number): void;
  countBind(outcome: string): void;
  countRefusedConnection(reason: RefusedConnection): void;
  readonly contentType: string;
  /** The exposition text. Event-loop delay figures cover the time since the previous call. */
  render(): Promise<string>;
  close(): void;
}

const VERB_BUCKETS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1,
  2.5, 5,
];
const GPUS_PER_TURN = 1000;
const NANOS_PER_SECOND = 1e9;

export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const verbs = defineVerbMetrics(registry);
  defineStateGauges(registry, sources);
  const stopDelayMonitor = defineEventLoopDelay(registry);
  return {
    ...verbs,
    contentType: registry.contentType,
    render: async () => (await registry.metrics()) + (await renderGpus(sources.gpus())),
    close: () => {
      stopDelayMonitor();
      registry.clear();
    },
  };
}

type Recorders = Omit<Metrics, 'contentType' | 'render' | 'close'>;

function defineVerbMetrics(registry: Registry): Recorders {
  const registers = [registry];
  const duration = new Histogram({
    name: 'gpuloom_verb_duration_seconds',
    help: 'Time to decode, decide and encode one call of kube-scheduler, without the transfer of the body.',
    labelNames: ['verb'],
    buckets: VERB_BUCKETS_SECONDS,
    registers,
  });
  const errors = new Counter({
    name: 'gpuloom_verb_errors_total',
    help: 'Calls answered with an error instead of a decision.',
    labelNames: ['verb'],
    registers,
  });
  const rejections = new Counter({
    name: 'gpuloom_rejections_total',
    help: 'Nodes rejected by filter, by reason code.',
    labelNames: ['reason'],
    registers,
  });
  const binds = new Counter({
    name: 'gpuloom_binds_total',
    help: 'Binds by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const refused = new Counter({
    name: 'gpuloom_connections_refused_total',
    help: 'Connections refused before a verb was read: too many open, TLS failure, or a client name not allowed.',
    labelNames: ['reason'],
    registers,
  });
  const byVerb = {
    filter: duration.labels('filter'),
    prioritize: duration.labels('prioritize'),
    bind: duration.labels('bind'),
  };
  for (const verb of ['filter', 'prioritize', 'bind']) errors.inc({ verb }, 0);
  return {
    observeVerb: (verb, seconds) => byVerb[verb].observe(seconds),
    countVerbError: (verb) => errors.inc({ verb }),
    countRejection: (reason, nodes = 1) => rejections.inc({ reason }, nodes),
    countBind: (outcome) => binds.inc({ outcome }),
    countRefusedConnection: (reason) => refused.inc({ reason }),
  };
}

function defineStateGauges(registry: Registry, sources: MetricSources): void {
  const labelled = (label: string, read: () => Iterable<readonly [string, number]>): CollectGauge =>
    function collect(gauge) {
      gauge.reset();
      for (const [value, amount] of read()) gauge.set({ [label]: value }, amount);
    };
  pull(
    registry,
    'gpuloom_reservations',
    'Reservations in the ledger by state.',
    ['state'],
    labelled('state', () => sources.reservations()),
  );
  pull(
    registry,
    'gpuloom_ledger_drift',
    'Differences between the ledger and a rebuild from the API server. Must be 0.',
    [],
    (gauge) => gauge.set(sources.ledgerDrift()),
  );
  pull(
    registry,
    'gpuloom_api_staleness_seconds',
    'Seconds since a feed last heard from the API server.',
    ['feed'],
    labelled('feed', () => sources.apiStalenessSeconds()),
  );
  pull(
    registry,
    'gpuloom_tls_cert_expiry_seconds',
    'Unix time at which the serving certificate of the verbs listener ends. Absent without TLS.',
    [],
    (gauge) => {
      const millis = sources.tlsCertExpiryMillis();
      if (millis === undefined) gauge.remove({});
      else gauge.set(millis / 1000);
    },
  );
  defineShapeCache(registry, sources);
}

type CollectGauge = (gauge: Gauge<string>) => void;

/** A gauge whose value is read when Prometheus asks for it. */
function pull(registry: Registry, name: string, help: string, labelNames: string[], collect: CollectGauge): void {
  const gauge: Gauge<string> = new Gauge<string>({
    name,
    help,
    labelNames,
    registers: [],
    collect: () => collect(gauge),
  });
  registry.registerMetric(gauge);
}

function defineShapeCache(registry: Registry, sources: MetricSources): void {
  pull(registry, 'gpuloom_shape_cache_size', 'Request shapes whose verdicts are cached.', [], (gauge) =>
    gauge.set(sources.shapeCache().size),
  );
  const total = (name: string, help: string, read: () => number): void => {
    const counter: Counter<string> = new Counter<string>({
      name,
      help,
      registers: [],
      collect: () => {
        counter.reset();
        counter.inc(read());
      },
    });
    registry.registerMetric(counter);
  };
  total(
    'gpuloom_shape_cache_hits_total',
    'Calls that found their request shape cached.',
    () => sources.shapeCache().hits,
  );
  total(
    'gpuloom_shape_cache_misses_total',
    'Calls that had to compute their request shape from scratch.',
    () => sources.shapeCache().misses,
  );
}

function defineEventLoopDelay(registry: Registry): () => void {
  const resolutionMillis = 10;
  const delay = monitorEventLoopDelay({ resolution: resolutionMillis });
  delay.enable();
  // The histogram records whole timer intervals; what exceeds the resolution is the delay.
  const seconds = (nanos: number): number =>
    Number.isFinite(nanos) ? Math.max(0, nanos / NANOS_PER_SECOND - resolutionMillis / 1000) : 0;
  pull(
    registry,
    'gpuloom_event_loop_delay_seconds',
    'Delay of the event loop since the last scrape, by quantile (1 is the maximum).',
    ['quantile'],
    (gauge) => {
      gauge.set({ quantile: '0.5' }, seconds(delay.percentile(50)));
      gauge.set({ quantile: '0.99' }, seconds(delay.percentile(99)));
      gauge.set({ quantile: '1' }, seconds(delay.max));
      delay.reset();
    },
  );
  return () => {
    delay.disable();
  };
}

/** Two series per GPU, written directly: the client library would hash 80,000 label sets in one blocking stretch. */
async function renderGpus(gpus: readonly GpuUsage[]): Promise<string> {
  const allocated = [
    '# HELP gpuloom_gpu_allocated_slices Memory slices given out.\n# TYPE gpuloom_gpu_allocated_slices gauge\n',
  ];
  const capacity = [
    '# HELP gpuloom_gpu_capacity_slices Memory slices of the GPU.\n# TYPE gpuloom_gpu_capacity_slices gauge\n',
  ];
  for (let start = 0; start < gpus.length; start += GPUS_PER_TURN) {
    if (start > 0) await nextTurn();
    for (const usage of gpus.slice(start, start + GPUS_PER_TURN)) {
      const labels = `{node="${escapeLabel(usage.node)}",gpu="${escapeLabel(usage.gpu)}"}`;
      allocated.push(`gpuloom_gpu_allocated_slices${labels} ${usage.allocatedSlices}\n`);
      capacity.push(`gpuloom_gpu_capacity_slices${labels} ${usage.capacitySlices}\n`);
    }
  }
  return `\n${allocated.join('')}\n${capacity.join('')}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
