// Pods for a real node: created straight onto it or through a scheduler, followed until they are where a test wants
// them, and their containers' own words read from the runtime's log files. The environment is what the container's first
// process was given, printed by that process itself. Every wait has an end and says what it saw instead.

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { ResourceList, StringMap } from '../../../extender/core/manifest.ts';
import type { ApiClient, ApiObject } from '../api.ts';
import { ApiError } from '../api.ts';
import { eventMessages, podsPath } from '../cluster.ts';
import { eventually } from '../process.ts';
import { BUSYBOX_IMAGE } from './images.ts';
import type { RealNode } from './node.ts';

export interface NodeContainer {
  readonly name: string;
  /** A script for /bin/sh; PRINT_ENVIRONMENT_AND_WAIT unless given. */
  readonly script?: string;
  readonly limits?: ResourceList;
  readonly env?: StringMap;
  readonly image?: string;
}

export interface NodePod {
  readonly name: string;
  readonly namespace?: string;
  /** Without it a scheduler chooses the node. */
  readonly nodeName?: string;
  readonly schedulerName?: string;
  readonly labels?: StringMap;
  readonly annotations?: StringMap;
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never';
  readonly initContainers?: readonly NodeContainer[];
  readonly containers: readonly NodeContainer[];
}

export interface ContainerStatus {
  readonly name: string;
  readonly restartCount: number;
  readonly ready: boolean;
  readonly containerID?: string;
  readonly state?: ContainerState;
  readonly lastState?: ContainerState;
}

export interface ContainerState {
  readonly running?: { readonly startedAt?: string };
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly terminated?: { readonly exitCode: number; readonly reason?: string };
}

export type PodOnNode = ApiObject & {
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
};

const MARK = 'environment:';
/** Prints the environment as one line, for `environmentOf`; to be followed by more. */
export const PRINT_ENVIRONMENT = `echo "${MARK}$(base64 -w0 /proc/1/environ)"`;
/** Ends at once on SIGTERM, so that deleting the pod takes no grace period. */
export const PRINT_ENVIRONMENT_AND_WAIT = `trap 'exit 0' TERM; ${PRINT_ENVIRONMENT}; sleep 2147483647 & wait`;

/** Answers with the pod as created. */
export function createNodePod(api: ApiClient, pod: NodePod): Promise<ApiObject> {
  return api.create(podsPath(pod.namespace ?? 'default'), {
    metadata: { name: pod.name, labels: pod.labels ?? {}, annotations: pod.annotations ?? {} },
    spec: {
      // A property without a value is left out of the JSON.
      nodeName: pod.nodeName,
      schedulerName: pod.schedulerName,
      restartPolicy: pod.restartPolicy ?? 'Always',
      hostNetwork: true,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 2,
      containers: pod.containers.map(containerObject),
      initContainers: pod.initContainers?.map(containerObject),
    },
  });
}

export function readPod(api: ApiClient, name: string, namespace = 'default'): Promise<PodOnNode> {
  return api.get<PodOnNode>(`${podsPath(namespace)}/${name}`);
}

/** Waits until the pod is as `condition` wants it; else rejects with its status and events. */
export async function untilPod(
  api: ApiClient,
  name: string,
  condition: (pod: PodOnNode) => boolean,
  timeoutMillis = 30_000,
): Promise<PodOnNode> {
  let pod = await readPod(api, name);
  const met = await eventually(async () => {
    pod = await readPod(api, name);
    return condition(pod);
  }, timeoutMillis);
  if (met) return pod;
  const events = await eventMessages(api, 'default', name);
  throw new Error(`pod ${name} within ${timeoutMillis} ms: ${JSON.stringify(pod.status)}\n  ${events.join('\n  ')}`);
}

/** All containers of the pod run. */
export function isRunningPod(pod: PodOnNode): boolean {
  const statuses = pod.status?.containerStatuses ?? [];
  return pod.status?.phase === 'Running' && statuses.every(({ state }) => state?.running !== undefined);
}

export function containerStatus(pod: PodOnNode, container: string): ContainerStatus | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  return [...containerStatuses, ...initContainerStatuses].find(({ name }) => name === container);
}

/** Deletes as a user does, with the pod's grace period, and waits until the kubelet has let go of it. */
export async function deleteNodePod(api: ApiClient, name: string, timeoutMillis = 30_000): Promise<void> {
  const path = `${podsPath('default')}/${name}`;
  await api.call('DELETE', path);
  const gone = await eventually(
    () =>
      api.get(path).then(
        () => false,
        (cause: unknown) => {
          if (cause instanceof ApiError && cause.status === 404) return true;
          throw cause;
        },
      ),
    timeoutMillis,
  );
  if (!gone) throw new Error(`pod ${name} was still there ${timeoutMillis} ms after its deletion`);
}

/** Which run of the container, counted from 0; the newest that has a log unless given. */
export interface LogOptions {
  readonly restart?: number;
}

/** What the container wrote to its standard output, line by line; empty while it has no log. */
export async function containerLog(
  node: RealNode,
  pod: ApiObject,
  container: string,
  options: LogOptions = {},
): Promise<readonly string[]> {
  const { namespace = '', name = '', uid = '' } = pod.metadata ?? {};
  const folder = join(node.podLogDir, `${namespace}_${name}_${uid}`, container);
  const runs = (await orMissing(readdir(folder), [])).map((file) => Number.parseInt(file, 10));
  const restart = options.restart ?? Math.max(...runs);
  if (!runs.includes(restart)) return [];
  return standardOutput(await orMissing(readFile(join(folder, `${restart}.log`), 'utf8'), ''));
}

/** The environment that the container's first process was given; waits until the container has printed it. */
export async function environmentOf(
  node: RealNode,
  pod: ApiObject,
  container: string,
  options: LogOptions = {},
): Promise<Readonly<Record<string, string>>> {
  let printed: string | undefined;
  await eventually(async () => {
    const lines = await containerLog(node, pod, container, options);
    printed = lines.findLast((line) => line.startsWith(MARK));
    return printed !== undefined;
  }, 10_000);
  if (printed === undefined) throw new Error(`${container} of ${pod.metadata?.name ?? ''} printed no environment`);
  const variables = Buffer.from(printed.slice(MARK.length), 'base64').toString('utf8').split('\0');
  return Object.fromEntries(
    variables.filter(Boolean).map((variable) => {
      const cut = variable.indexOf('=');
      return [variable.slice(0, cut), variable.slice(cut + 1)];
    }),
  );
}

function containerObject(container: NodeContainer): Record<string, unknown> {
  const limits = container.limits ?? {};
  return {
    name: container.name,
    image: container.image ?? BUSYBOX_IMAGE,
    imagePullPolicy: 'Never',
    command: ['/bin/sh', '-c', container.script ?? PRINT_ENVIRONMENT_AND_WAIT],
    env: Object.entries(container.env ?? {}).map(([name, value]) => ({ name, value })),
    resources: { limits, requests: limits },
  };
}

/** The log format of the container runtime interface: time, stream, `F` or `P` (the line goes on), text. */
function standardOutput(text: string): readonly string[] {
  const lines: string[] = [];
  let begun = '';
  for (const line of text.split('\n')) {
    const match = /^\S+ stdout ([FP])\S* (.*)$/.exec(line);
    if (match === null) continue;
    begun += match[2] ?? '';
    if (match[1] === 'P') continue;
    lines.push(begun);
    begun = '';
  }
  return lines;
}

async function orMissing<T>(reading: Promise<T>, fallback: T): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return fallback;
    throw cause;
  }
}
