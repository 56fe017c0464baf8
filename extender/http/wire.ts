// The extender v1 protocol as schemas: loose about fields we do not read, strict about the types of those we do, so that
// the engine never meets a number where its types promise a list. Compiled once, checked in place: no copies, no coercion.
// Also checks what we answer, because kube-scheduler drops a whole priority list for one wrong number without a word.

import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { TSchema } from 'typebox';
import type { ExtenderArgs, ExtenderBindingArgs, ExtenderFilterResult, HostPriority } from '../app/extender-api.ts';
import type { ScoredHosts } from '../app/judged-hosts.ts';
import type { NodeManifest, PodManifest } from '../core/manifest.ts';
import { MAX_EXTENDER_SCORE } from '../core/ranking.ts';
import { findFault, MAX_JSON_DEPTH } from './json-body.ts';

const text = Type.Optional(Type.String());
const quantities = Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])));
const strings = Type.Optional(Type.Record(Type.String(), Type.String()));
const anything = Type.Optional(Type.Unknown());

const metadata = Type.Optional(
  Type.Object({
    name: text,
    namespace: text,
    uid: text,
    resourceVersion: text,
    creationTimestamp: text,
    deletionTimestamp: text,
    labels: strings,
    annotations: strings,
  }),
);
const containers = Type.Optional(
  Type.Array(
    Type.Object({
      name: text,
      restartPolicy: text,
      resources: Type.Optional(Type.Object({ limits: quantities, requests: quantities })),
    }),
  ),
);
const preference = Type.Optional(
  Type.Object({
    preferredDuringSchedulingIgnoredDuringExecution: Type.Optional(Type.Array(Type.Unknown())),
    requiredDuringSchedulingIgnoredDuringExecution: anything,
  }),
);
const pod = Type.Object({
  metadata,
  spec: Type.Optional(
    Type.Object({
      nodeName: text,
      schedulerName: text,
      priority: Type.Optional(Type.Number()),
      containers,
      initContainers: containers,
      overhead: quantities,
      affinity: Type.Optional(
        Type.Object({ nodeAffinity: preference, podAffinity: preference, podAntiAffinity: preference }),
      ),
      topologySpreadConstraints: Type.Optional(Type.Array(Type.Object({ whenUnsatisfiable: text }))),
    }),
  ),
  status: Type.Optional(Type.Object({ phase: text })),
});
const node = Type.Object({
  metadata,
  status: Type.Optional(
    Type.Object({
      capacity: quantities,
      allocatable: quantities,
      addresses: Type.Optional(Type.Array(Type.Object({ type: text, address: text }))),
    }),
  ),
});
const extenderArgs = Type.Object({
  Pod: Type.Optional(Type.Union([pod, Type.Null()])),
  Nodes: Type.Optional(
    Type.Union([Type.Object({ items: Type.Optional(Type.Union([Type.Array(node), Type.Null()])) }), Type.Null()]),
  ),
  NodeNames: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
});
const bindingArgs = Type.Object({ PodName: text, PodNamespace: text, PodUID: text, Node: text });

export type Parsed<T> =
  { readonly kind: 'args'; readonly args: T } | { readonly kind: 'invalid'; readonly message: string };

export interface WireParsers {
  extenderArgs(value: unknown): Parsed<ExtenderArgs>;
  bindingArgs(value: unknown): Parsed<ExtenderBindingArgs>;
}

/** Compiles the schemas. Once per server: compilation takes milliseconds. */
export function createWireParsers(): WireParsers {
  const args = Compile(extenderArgs);
  const binding = Compile(bindingArgs);
  return {
    extenderArgs: (value) => {
      const parsed = parse<ExtenderArgs>(args, value);
      if (parsed.kind === 'invalid') return parsed;
      const fault = findFault(parsed.args.Pod, MAX_JSON_DEPTH);
      return fault === undefined ? parsed : { kind: 'invalid', message: `Pod: ${fault}` };
    },
    bindingArgs: (value) => parse<ExtenderBindingArgs>(binding, value),
  };
}

/** Reads Pods and Nodes that come from elsewhere than a scheduler, such as a list that kubectl wrote. */
export interface ManifestParsers {
  pod(value: unknown): Parsed<PodManifest>;
  node(value: unknown): Parsed<NodeManifest>;
}

/** Compiles the same schemas of Pod and Node that the verbs use. */
export function createManifestParsers(): ManifestParsers {
  const pods = Compile(pod);
  const nodes = Compile(node);
  return { pod: (value) => parse<PodManifest>(pods, value), node: (value) => parse<NodeManifest>(nodes, value) };
}

interface Checker {
  Check(value: unknown): boolean;
  Errors(value: unknown): readonly { readonly instancePath: string; readonly message: string }[];
  Type(): TSchema;
}

function parse<T>(checker: Checker, value: unknown): Parsed<T> {
  // The schema mirrors the interface; this is the one place where wire data gets its type.
  if (checker.Check(value)) return { kind: 'args', args: value as T };
  // To Kubernetes a null field is an absent field. Rare, so it is repaired only after a first refusal.
  dropNulls(value);
  if (checker.Check(value)) return { kind: 'args', args: value as T };
  return { kind: 'invalid', message: describe(checker.Errors(value)) };
}

function describe(errors: readonly { readonly instancePath: string; readonly message: string }[]): string {
  // A union reports each of its branches; the deepest path is the one that names the field at fault.
  let deepest = { instancePath: '', message: 'must be an object with the fields of the extender v1 protocol' };
  for (const error of errors) if (error.instancePath.length > deepest.instancePath.length) deepest = error;
  const where = deepest.instancePath.slice(1, 200).replaceAll('/', '.') || 'the body';
  return `${where} ${deepest.message}`;
}

function dropNulls(root: unknown): void {
  const pending: unknown[] = [root];
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    if (typeof item !== 'object' || item === null) continue;
    for (const [key, child] of Object.entries(item)) {
      if (child === null && !Array.isArray(item)) Reflect.deleteProperty(item, key);
      else if (typeof child === 'object') pending.push(child);
    }
  }
}

/** The nodes that a call asks about, in the order of the request. */
export function requestedHosts(args: ExtenderArgs): readonly string[] {
  if (args.NodeNames) return args.NodeNames;
  return (args.Nodes?.items ?? []).map((item) => item.metadata?.name ?? '');
}

/** Why a filter answer may not be sent: a missing list reads as "no node fits" to kube-scheduler. */
export function filterAnswerFault(args: ExtenderArgs, result: ExtenderFilterResult): string | undefined {
  if (result.Error !== '') return undefined;
  if (args.NodeNames && result.NodeNames === null) return 'filter answered without NodeNames';
  if (!args.NodeNames && args.Nodes && result.Nodes === null && result.NodeNames === null) {
    return 'filter answered without Nodes';
  }
  return undefined;
}

/** Why these scores may not be sent; the same rule for scores without names. */
export function scoresFault({ candidates, scores }: ScoredHosts): string | undefined {
  for (let each = 0; each < candidates.count; each += 1) {
    const score = scores[each];
    if (score === undefined || score > MAX_EXTENDER_SCORE) {
      return `prioritize scored ${candidates.nameAt(each)} with ${score}; scores are integers from 0 to ${MAX_EXTENDER_SCORE}`;
    }
  }
  return undefined;
}

/** Why a priority list may not be sent: it must hold one integer score from 0 to 10 for every requested host. */
export function priorityAnswerFault(hosts: readonly string[], priorities: readonly HostPriority[]): string | undefined {
  if (priorities.length !== hosts.length) {
    return `prioritize answered ${priorities.length} scores for ${hosts.length} hosts`;
  }
  let sameOrder = true;
  for (let index = 0; index < priorities.length; index += 1) {
    const priority = priorities[index];
    if (priority === undefined) return `prioritize left a hole at position ${index}`;
    const score = priority.Score;
    if (!(Number.isInteger(score) && score >= 0 && score <= 10)) {
      return `prioritize scored ${priority.Host} with ${score}; scores are integers from 0 to 10`;
    }
    sameOrder &&= priority.Host === hosts[index];
  }
  return sameOrder ? undefined : hostSetFault(hosts, priorities);
}

function hostSetFault(hosts: readonly string[], priorities: readonly HostPriority[]): string | undefined {
  const missing = new Set(hosts);
  for (const { Host } of priorities) {
    if (!missing.delete(Host)) return `prioritize scored ${Host}, which was not requested or is scored twice`;
  }
  return undefined;
}
