// Pod manifest to GPU request. Contradictions are refused with a sentence that says how to mend the pod;
// nothing is rounded or assumed in the user's place.

import { isGangMember, workloadClass } from './class.ts';
import { ownValue, type ContainerManifest, type PodManifest, type StringMap } from './manifest.ts';
import type { Affinities, ContainerDemand, GpuDemand, HostResources, ModelConstraint } from './model.ts';
import { ISOLATION_LEVELS, POLICY_NAMES } from './model.ts';
import { cpuMilli, memoryMiB, parseCount } from './quantity.ts';
import { ALLOCATION_ANNOTATION, KEY_PREFIX, POD_ANNOTATIONS, POD_LABELS, type Profile } from './resources.ts';
import { parseAffinityTerm, type AffinityTerm } from './selector.ts';

export const MAX_GPUS_PER_POD = 64;
const MAX_LIST_ENTRIES = 64;
const CORE_PER_GPU = 100;
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Thrown inside this file only; `gpuDemand` turns it into a value. */
class Refusal extends Error {}

/**
 * What the pod asks of GPUs under a profile: nothing, a request, or a refusal.
 * Containers are summed, init containers count by the maximum, sidecars (init containers with restartPolicy
 * Always) from their start on, as Kubernetes does for its own resources (KEP-753).
 */
export function gpuDemand(pod: PodManifest, profile: Profile): GpuDemand {
  try {
    const containers = rawDemands(pod, profile);
    if (containers.length === 0) return { kind: 'none' };
    return { kind: 'request', request: buildRequest(pod, profile, containers) };
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'invalid', why: error.message };
    throw error;
  }
}

/** CPU and memory requests of a pod by the same formula, in milli-cores and MiB, overhead included. */
export function hostRequest(pod: PodManifest): HostResources {
  const all = [...members(pod)];
  const cpu = (container: ContainerManifest): number =>
    cpuMilli(container.resources?.requests?.['cpu'] ?? container.resources?.limits?.['cpu']);
  const memory = (container: ContainerManifest): number =>
    memoryMiB(container.resources?.requests?.['memory'] ?? container.resources?.limits?.['memory']);
  const overhead = pod.spec?.overhead;
  return {
    cpuMilli:
      effective(all.map(({ container, role }) => ({ role, amount: cpu(container) }))) + cpuMilli(overhead?.['cpu']),
    memoryMiB:
      effective(all.map(({ container, role }) => ({ role, amount: memory(container) }))) +
      memoryMiB(overhead?.['memory']),
  };
}

/** `max(init peak, sidecars + main)`, where an init container runs beside the sidecars declared before it. */
export function effective(
  parts: readonly { readonly role: ContainerDemand['role']; readonly amount: number }[],
): number {
  let sidecars = 0;
  let initPeak = 0;
  let main = 0;
  for (const { role, amount } of parts) {
    if (role === 'main') main += amount;
    else if (role === 'sidecar') sidecars += amount;
    else initPeak = Math.max(initPeak, sidecars + amount);
    initPeak = Math.max(initPeak, sidecars);
  }
  return Math.max(initPeak, sidecars + main);
}

interface RawDemand {
  readonly name: string;
  readonly role: ContainerDemand['role'];
  readonly slices: number;
  readonly core: number;
}

function* members(pod: PodManifest): Generator<{ container: ContainerManifest; role: ContainerDemand['role'] }> {
  for (const container of pod.spec?.initContainers ?? []) {
    yield { container, role: container.restartPolicy === 'Always' ? 'sidecar' : 'init' };
  }
  for (const container of pod.spec?.containers ?? []) yield { container, role: 'main' };
}

function rawDemands(pod: PodManifest, profile: Profile): RawDemand[] {
  const demands: RawDemand[] = [];
  for (const { container, role } of members(pod)) {
    const name = container.name ?? '';
    const slices = amountOf(container, profile.memoryResource, name);
    const core = amountOf(container, profile.coreResource, name);
    if (slices === undefined && core === undefined) continue;
    if (core !== undefined && core > 0 && (slices ?? 0) === 0) {
      throw new Refusal(
        `container "${name}" asks ${profile.coreResource} without ${profile.memoryResource}; add the GPU memory it needs`,
      );
    }
    demands.push({ name, role, slices: slices ?? 0, core: core ?? 0 });
  }
  return demands;
}

function amountOf(container: ContainerManifest, resource: string, name: string): number | undefined {
  const { limits, requests } = container.resources ?? {};
  const raw = limits?.[resource] ?? requests?.[resource];
  if (raw === undefined) return undefined;
  const amount = parseCount(raw);
  if (amount === undefined) {
    throw new Refusal(`container "${name}" sets ${resource} to "${String(raw)}"; write a whole number of units`);
  }
  return amount;
}

function buildRequest(
  pod: PodManifest,
  profile: Profile,
  raw: readonly RawDemand[],
): Extract<GpuDemand, { kind: 'request' }>['request'] {
  const labels = pod.metadata?.labels ?? {};
  const annotations = pod.metadata?.annotations ?? {};
  refuseUnknownKeys(labels, annotations, profile);
  const gpuCount = countOf(labels, profile);
  const containers = raw.map((each) => splitEvenly(each, gpuCount, profile));
  const slicesPerGpu = effective(containers.map(({ role, slicesPerGpu: amount }) => ({ role, amount })));
  const corePerGpu = effective(containers.map(({ role, corePerGpu: amount }) => ({ role, amount })));
  if (slicesPerGpu === 0) {
    throw new Refusal(`${profile.memoryResource} adds up to 0; ask at least 1 slice or remove the resource`);
  }
  if (corePerGpu > CORE_PER_GPU) {
    throw new Refusal(
      `${profile.coreResource} comes to ${corePerGpu} percent per GPU; a GPU has ${CORE_PER_GPU}: ask less or raise ${profile.countLabel}`,
    );
  }
  const className = workloadClass(labels, annotations);
  if (className.kind === 'invalid') throw new Refusal(className.why);
  return {
    gpuCount,
    slicesPerGpu,
    corePerGpu,
    containers,
    class: className.class,
    gang: isGangMember(labels, annotations),
    models: modelsOf(annotations),
    uuids: listOf(annotations, POD_ANNOTATIONS.gpuUuid, ','),
    affinities: affinitiesOf(annotations, pod.metadata?.namespace ?? 'default'),
    policy: choiceOf(annotations, POD_ANNOTATIONS.placement, POLICY_NAMES),
    isolation: choiceOf(annotations, POD_ANNOTATIONS.isolation, ISOLATION_LEVELS) ?? 'none',
    host: hostRequest(pod),
    hasSoftPreferences: hasSoftPreferences(pod),
  };
}

function splitEvenly(raw: RawDemand, gpuCount: number, profile: Profile): ContainerDemand {
  for (const [resource, amount] of [
    [profile.memoryResource, raw.slices],
    [profile.coreResource, raw.core],
  ] as const) {
    if (amount % gpuCount !== 0) {
      const lower = amount - (amount % gpuCount);
      throw new Refusal(
        `container "${raw.name}" asks ${resource} ${amount}, which does not divide by ${profile.countLabel} ${gpuCount}; ask ${lower > 0 ? `${lower} or ` : ''}${lower + gpuCount}`,
      );
    }
  }
  return {
    name: raw.name,
    role: raw.role,
    slicesPerGpu: raw.slices / gpuCount,
    corePerGpu: raw.core / gpuCount,
  };
}

function countOf(labels: StringMap, profile: Profile): number {
  const text = ownValue(labels, profile.countLabel) ?? ownValue(labels, POD_LABELS.gpuCount);
  if (text === undefined) return 1;
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_GPUS_PER_POD) {
    throw new Refusal(`label ${profile.countLabel} is "${text}"; write a whole number from 1 to ${MAX_GPUS_PER_POD}`);
  }
  return count;
}

const KNOWN_LABELS: ReadonlySet<string> = new Set(Object.values(POD_LABELS));
const KNOWN_ANNOTATIONS: ReadonlySet<string> = new Set([...Object.values(POD_ANNOTATIONS), ALLOCATION_ANNOTATION]);

/** A misspelt constraint must not be ignored: the pod would land where its owner forbade it. */
function refuseUnknownKeys(labels: StringMap, annotations: StringMap, profile: Profile): void {
  for (const [kind, map, known] of [
    ['label', labels, KNOWN_LABELS],
    ['annotation', annotations, KNOWN_ANNOTATIONS],
  ] as const) {
    for (const key of Object.keys(map)) {
      if (!key.startsWith(KEY_PREFIX) || known.has(key) || key === profile.countLabel) continue;
      throw new Refusal(`unknown ${kind} ${key.slice(0, 100)}; known ${kind}s are ${[...known].sort().join(', ')}`);
    }
  }
}

function modelsOf(annotations: StringMap): ModelConstraint {
  const entries = listOf(annotations, POD_ANNOTATIONS.gpuModel, '|');
  const deny = entries.filter((entry) => entry.startsWith('!')).map((entry) => entry.slice(1).trim());
  const allow = entries.filter((entry) => !entry.startsWith('!'));
  const both = allow.find((model) => deny.includes(model));
  if (both !== undefined || deny.includes('')) {
    throw new Refusal(
      `annotation ${POD_ANNOTATIONS.gpuModel} ${both === undefined ? 'has an empty exclusion' : `both asks and excludes "${both}"`}; write A100|H100 or !T4`,
    );
  }
  return { allow: [...new Set(allow)].sort(), deny: [...new Set(deny)].sort() };
}

function listOf(annotations: StringMap, key: string, separator: string): string[] {
  const text = ownValue(annotations, key);
  if (text === undefined) return [];
  const entries = text.split(separator, MAX_LIST_ENTRIES + 1).map((entry) => entry.trim());
  if (entries.length > MAX_LIST_ENTRIES || entries.some((entry) => entry === '' || entry.length > 128)) {
    throw new Refusal(
      `annotation ${key} is "${text.slice(0, 60)}"; write 1 to ${MAX_LIST_ENTRIES} names separated by "${separator}"`,
    );
  }
  return [...new Set(entries)].sort();
}

function affinitiesOf(annotations: StringMap, ownNamespace: string): Affinities {
  const named = listOf(annotations, POD_ANNOTATIONS.affinityNamespaces, ',');
  const badNamespace = named.find((each) => !NAMESPACE.test(each));
  if (badNamespace !== undefined) {
    throw new Refusal(
      `annotation ${POD_ANNOTATIONS.affinityNamespaces} has "${badNamespace}", which is no namespace name`,
    );
  }
  const namespaces = named.length > 0 ? named : [ownNamespace];
  const term = (key: string): AffinityTerm | undefined => {
    const text = ownValue(annotations, key);
    if (text === undefined) return undefined;
    const result = parseAffinityTerm(text, namespaces);
    if (result.kind === 'invalid') throw new Refusal(`annotation ${key} ${result.why}`);
    return result.term;
  };
  return {
    required: term(POD_ANNOTATIONS.affinity),
    forbidden: term(POD_ANNOTATIONS.antiAffinity),
    preferred: term(POD_ANNOTATIONS.preferredAffinity),
    avoided: term(POD_ANNOTATIONS.preferredAntiAffinity),
  };
}

function choiceOf<T extends string>(annotations: StringMap, key: string, choices: readonly T[]): T | undefined {
  const text = ownValue(annotations, key);
  if (text === undefined) return undefined;
  const choice = choices.find((name) => name === text);
  if (choice === undefined) {
    throw new Refusal(`annotation ${key} is "${text.slice(0, 60)}"; write ${choices.join(', ')}`);
  }
  return choice;
}

/**
 * Required in-tree terms have already been applied to the candidates when filter is called, so handing back fewer
 * of them cannot starve such a pod. Soft terms are scored afterwards and need every feasible node.
 */
function hasSoftPreferences(pod: PodManifest): boolean {
  const { affinity, topologySpreadConstraints } = pod.spec ?? {};
  const holders = [affinity?.nodeAffinity, affinity?.podAffinity, affinity?.podAntiAffinity];
  return (
    holders.some((holder) => (holder?.preferredDuringSchedulingIgnoredDuringExecution?.length ?? 0) > 0) ||
    (topologySpreadConstraints ?? []).some((constraint) => constraint.whenUnsatisfiable === 'ScheduleAnyway')
  );
}
