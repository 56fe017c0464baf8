// A `kubectl get nodes,pods -A -o json` document as the extender would see that cluster: the same schemas, the same
// readers of Node and Pod, the same ledger decide what the objects mean.

import type { ConfigMapManifest, PodManifest } from '../../extender/core/manifest.ts';
import { unhealthyList } from '../../extender/app/unhealthy-list.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import type { NodeRecord, PodRecord } from '../../extender/core/model.ts';
import { nodeRecord, podRecord } from '../../extender/core/records.ts';
import { RequestPool } from '../../extender/core/request-pool.ts';
import { gpuDemand } from '../../extender/core/request.ts';
import { PROFILES, type Profile } from '../../extender/core/resources.ts';
import { ClusterState } from '../../extender/core/state.ts';
import { createManifestParsers, type ManifestParsers, type Parsed } from '../../extender/http/wire.ts';
import { quoted } from '../trace/fault.ts';
import { compareText, fullName, withoutOrphans, type LiveCluster } from './cluster.ts';
import { finding, type Finding } from './finding.ts';
import { documentFault, ListReader, shown } from './list-items.ts';

const OBJECT_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const UID = /^[\x21-\x7e]{1,128}$/;
const HARD_EFFECTS: readonly unknown[] = ['NoSchedule', 'NoExecute'];
const FROM_API_SERVER = 'objects must come from an API server: kubectl get nodes,pods -A -o json';

export interface KubectlOptions {
  readonly file: string;
  readonly profile: Profile;
  readonly skipOrphans: boolean;
}

export async function readKubectlList(chunks: AsyncIterable<Buffer>, options: KubectlOptions): Promise<LiveCluster> {
  const objects = new Objects(options);
  const reader = new ListReader(options.file, (item, at) => objects.take(item, at));
  for await (const chunk of chunks) reader.write(chunk);
  const { kind } = reader.end();
  if (kind !== 'List') {
    const what = `the document is of kind ${shown(kind)}, not a List`;
    throw documentFault(options.file, 'kind', what, 'write one with: kubectl get nodes,pods -A -o json');
  }
  return objects.cluster();
}

/** Rules that kube-scheduler applies before it asks an extender, and that a replay has not. */
interface NotReplayed {
  readonly cordoned: string[];
  readonly tainted: string[];
  readonly selective: string[];
}

class Objects {
  readonly #options: KubectlOptions;
  readonly #parsers: ManifestParsers = createManifestParsers();
  readonly #pool = new RequestPool();
  readonly #nodes: NodeRecord[] = [];
  readonly #pods: PodRecord[] = [];
  readonly #marked: (readonly [string, readonly number[]])[] = [];
  /** Position in the document by what makes an object unique. */
  readonly #seen = new Map<string, number>();
  readonly #other: Profile;
  readonly #othersPods: string[] = [];
  readonly #notReplayed: NotReplayed = { cordoned: [], tainted: [], selective: [] };

  constructor(options: KubectlOptions) {
    this.#options = options;
    this.#other = options.profile.name === 'gpushare' ? PROFILES.gpuloom : PROFILES.gpushare;
  }

  take(item: unknown, at: number): void {
    const kind = fieldOf(item, 'kind');
    if (kind === 'Pod') this.#pod(item, at);
    else if (kind === 'Node') this.#node(item, at);
    else if (kind === 'ConfigMap') this.#configMap(item);
    else if (typeof kind !== 'string')
      throw this.#fault(`items[${at}].kind`, 'the item names no kind', FROM_API_SERVER);
  }

  #node(item: unknown, at: number): void {
    const manifest = this.#parsed(this.#parsers.node(item), at);
    const record = nodeRecord(manifest);
    if (record === undefined) throw this.#fault(`items[${at}].metadata.name`, 'the node has no name', FROM_API_SERVER);
    this.#named(record.name, OBJECT_NAME, `items[${at}].metadata.name`);
    this.#once(`node ${record.name}`, at);
    this.#nodes.push(record);
    if (fieldOf(fieldOf(item, 'spec'), 'unschedulable') === true) this.#notReplayed.cordoned.push(record.name);
    else if (hasHardTaint(item)) this.#notReplayed.tainted.push(record.name);
  }

  #pod(item: unknown, at: number): void {
    const manifest = this.#parsed(this.#parsers.pod(item), at);
    const record = podRecord(manifest, this.#options.profile, this.#pool);
    if (record === undefined) {
      throw this.#fault(`items[${at}].metadata`, 'the pod has no name or no uid', FROM_API_SERVER);
    }
    const path = `items[${at}].metadata`;
    this.#named(record.name, OBJECT_NAME, `${path}.name`);
    this.#named(record.namespace, NAMESPACE, `${path}.namespace`);
    this.#named(record.uid, UID, `${path}.uid`);
    if (record.nodeName !== '') this.#named(record.nodeName, OBJECT_NAME, `items[${at}].spec.nodeName`);
    this.#once(`pod ${fullName(record)}`, at);
    this.#once(`uid ${record.uid}`, at);
    this.#pods.push(record);
    if (record.demand.kind === 'none') {
      if (gpuDemand(manifest, this.#other).kind !== 'none') this.#othersPods.push(fullName(record));
    } else if (isSelective(item, manifest)) this.#notReplayed.selective.push(fullName(record));
  }

  #configMap(item: unknown): void {
    // Read as loosely as the extender reads it; other ConfigMaps are none of our business.
    const list = unhealthyList(item as ConfigMapManifest);
    if (list !== undefined) this.#marked.push([list.nodeName, [...list.indices].sort((a, b) => a - b)]);
  }

  cluster(): LiveCluster {
    const { file, skipOrphans } = this.#options;
    const pathOf = ({ uid }: { readonly uid: string }): string =>
      `items[${this.#seen.get(`uid ${uid}`) ?? 0}].spec.nodeName`;
    const nodes = this.#nodes.sort((a, b) => compareText(a.name, b.name));
    const ledger = new Ledger(new ClusterState());
    for (const pod of this.#pods) ledger.observe(pod, 0);
    const all = [...ledger.residents()]
      .sort((a, b) => compareText(a.uid, b.uid))
      .map(({ positions: _positions, ...resident }) => resident);
    const { residents, findings } = withoutOrphans(all, nodes, { file, pathOf, skip: skipOrphans });
    const waiting = this.#pods
      .filter(({ nodeName, terminal, demand }) => nodeName === '' && !terminal && demand.kind !== 'none')
      .sort((a, b) => compareText(a.uid, b.uid));
    return {
      kind: 'kubectl',
      nodes,
      residents,
      waiting,
      markedUnhealthy: this.#marked.sort(([a], [b]) => compareText(a, b)),
      mix: undefined,
      findings: [...findings, ...this.#findings()],
    };
  }

  #findings(): readonly Finding[] {
    const { cordoned, tainted, selective } = this.#notReplayed;
    const isAbsent = this.#pods.every(({ demand }) => demand.kind === 'none');
    const { memoryResource } = this.#options.profile;
    const namespaces = new Set(this.#pods.map(({ namespace }) => namespace));
    return [
      ...(isAbsent
        ? finding(
            'profile',
            `no pod asks for ${memoryResource}, but some ask for ${this.#other.memoryResource}: add --profile ${this.#other.name}`,
            this.#othersPods,
          )
        : []),
      ...(this.#pods.length > 1 && namespaces.size === 1
        ? finding('incomplete', 'all pods are of one namespace: was kubectl called with -A?', [...namespaces])
        : []),
      ...finding('not-replayed', 'cordoned nodes count as open to pods here', cordoned),
      ...finding('not-replayed', 'nodes with taints count as open to every pod here', tainted),
      ...finding('not-replayed', 'node selectors and required affinities of GPU pods are not applied here', selective),
    ];
  }

  #parsed<T>(parsed: Parsed<T>, at: number): T {
    if (parsed.kind === 'args') return parsed.args;
    throw this.#fault(`items[${at}]`, parsed.message, FROM_API_SERVER);
  }

  #named(name: string, pattern: RegExp, path: string): void {
    if (!pattern.test(name)) throw this.#fault(path, `${quoted(name)} is no name in Kubernetes`, FROM_API_SERVER);
  }

  #once(key: string, at: number): void {
    const first = this.#seen.get(key);
    if (first !== undefined) {
      const mend = 'a list holds every object once; list again, and do not join lists by hand';
      throw this.#fault(`items[${at}]`, `${key} is already items[${first}]`, mend);
    }
    this.#seen.set(key, at);
  }

  #fault(path: string, what: string, mend: string): Error {
    return documentFault(this.#options.file, path, what, mend);
  }
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, field)
    ? (value as Readonly<Record<string, unknown>>)[field]
    : undefined;
}

function hasHardTaint(node: unknown): boolean {
  const taints = fieldOf(fieldOf(node, 'spec'), 'taints');
  if (!Array.isArray(taints)) return false;
  return taints.some((taint) => HARD_EFFECTS.includes(fieldOf(taint, 'effect')));
}

function isSelective(pod: unknown, { spec }: PodManifest): boolean {
  const selector = fieldOf(fieldOf(pod, 'spec'), 'nodeSelector');
  if (typeof selector === 'object' && selector !== null && Object.keys(selector).length > 0) return true;
  const { nodeAffinity, podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  return [nodeAffinity, podAffinity, podAntiAffinity].some(
    (holder) => holder?.requiredDuringSchedulingIgnoredDuringExecution !== undefined,
  );
}
