// `--check`: what the agent would find on this node, and what would stop it, for a person to read. Looks only through the
// probes it is given, changes nothing, and never throws: what cannot be found out is said as such.

import { apiPath, describeAnswer, isRecord, messageOf, stringAt } from '../extender/kube/kube-api.ts';
import type { KubeAnswer, KubeApi } from '../extender/kube/kube-api.ts';
import { cdiSupport } from './cdi-support.ts';
import type { FileText } from './cdi-support.ts';
import {
  bindingFindings,
  folderFinding,
  gpuFindings,
  mpsFindings,
  socketFinding,
  stateFinding,
} from './check-findings.ts';
import type { CheckFinding, FolderFacts, GpuFacts, SocketFacts } from './check-findings.ts';
import type { AgentConfig } from './config.ts';
import type { MpsReach } from './ports.ts';

export interface CheckProbes {
  /** Never rejects: a node without GPUs is a finding. */
  readonly gpus: (choice: string) => Promise<GpuFacts>;
  readonly folder: (path: string) => Promise<FolderFacts>;
  readonly socket: (path: string) => Promise<SocketFacts>;
  /** How many pods the kubelet lists; rejects with a sentence where it does not. */
  readonly podResources: (path: string) => Promise<number>;
  readonly mps: (pipeDirectory: string) => Promise<MpsReach>;
  readonly text: (path: string) => Promise<FileText>;
  /** Throws a sentence where there are no credentials. */
  readonly apiServer: () => { readonly server: string; readonly api: KubeApi };
}

export interface CheckResult {
  readonly text: string;
  /** Nothing was found that would stop the agent. */
  readonly ok: boolean;
}

/** The socket of gpushare's own plugin; ours has a name of its own beside it. */
const GPUSHARE_SOCKET = 'aliyungpushare.sock';
const API_TIMEOUT_MILLIS = 5_000;

export async function runCheck(config: AgentConfig, probes: CheckProbes): Promise<CheckResult> {
  const [gpus, kubelet, rival, cluster, mps, state] = await Promise.all([
    probes.gpus(config.inventory).then((facts) => gpuFindings(facts, config)),
    checkKubelet(config, probes),
    config.profile === 'gpushare' ? checkRival(config, probes) : [],
    checkCluster(config, probes),
    config.isolation === 'mps' ? checkMps(config.mpsPipeDirectory ?? '', probes) : [],
    probes.folder(config.stateDir).then((facts) => stateFinding(config.stateDir, facts)),
  ]);
  const binding = await checkBinding(config, probes, cluster.runtimeVersion);
  return render(config.nodeName, [...gpus, ...kubelet, ...rival, ...binding, ...mps, state, ...cluster.findings]);
}

async function checkKubelet({ kubeletDir, podResourcesSocket }: AgentConfig, probes: CheckProbes) {
  const folder = folderFinding('kubelet folder', kubeletDir, await probes.folder(kubeletDir), 'the kubelet makes it');
  const kubeletSocket = `${kubeletDir}/kubelet.sock`;
  const socket = socketFinding('kubelet', kubeletSocket, await probes.socket(kubeletSocket));
  return [folder, ...(folder.state === 'stops' ? [] : [socket]), await checkPodResources(podResourcesSocket, probes)];
}

async function checkPodResources(path: string, probes: CheckProbes): Promise<CheckFinding> {
  const subject = 'pod resources';
  const socket = socketFinding(subject, path, await probes.socket(path));
  if (socket.state === 'stops') return socket;
  try {
    const pods = await probes.podResources(path);
    return { state: 'ok', subject, said: [`${path} answers; ${pods} pods hold devices`] };
  } catch (error) {
    return { state: 'stops', subject, said: [messageOf(error)] };
  }
}

async function checkRival({ kubeletDir }: AgentConfig, probes: CheckProbes): Promise<readonly CheckFinding[]> {
  const path = `${kubeletDir}/${GPUSHARE_SOCKET}`;
  const facts = await probes.socket(path);
  const subject = "gpushare's plugin";
  if (facts.kind === 'answers') {
    const advice = 'two plugins would fight over aliyun.com/gpu-mem: remove its DaemonSet, or its label from this node';
    return [{ state: 'stops', subject, said: [`it still runs, at ${path}; ${advice}`] }];
  }
  const said = facts.kind === 'missing' ? 'it does not run here' : `${path} is left over; nobody answers there`;
  return [{ state: 'ok', subject, said: [said] }];
}

async function checkMps(folder: string, probes: CheckProbes): Promise<readonly CheckFinding[]> {
  return mpsFindings(folder, await probes.mps(folder));
}

async function checkBinding(
  config: AgentConfig,
  probes: CheckProbes,
  version: string | undefined,
): Promise<readonly CheckFinding[]> {
  const { cdiDir, containerdConfig } = config;
  const text = await probes.text(containerdConfig);
  const support = cdiSupport({ version, configPath: containerdConfig, config: text, cdiDir });
  return bindingFindings(config, support, await probes.folder(cdiDir));
}

interface ClusterReport {
  readonly findings: readonly CheckFinding[];
  readonly runtimeVersion: string | undefined;
}

async function checkCluster({ nodeName, profile }: AgentConfig, probes: CheckProbes): Promise<ClusterReport> {
  const subject = 'API server';
  try {
    const { server, api } = probes.apiServer();
    const answer = await api.request('GET', apiPath('v1', 'nodes', nodeName), { timeoutMillis: API_TIMEOUT_MILLIS });
    const refusal = refusalOf(answer, nodeName, server);
    if (refusal !== undefined) {
      return { findings: [{ state: 'stops', subject, said: [refusal] }], runtimeVersion: undefined };
    }
    const found: CheckFinding = { state: 'ok', subject, said: [`${server} answers and has Node ${nodeName}`] };
    const missing = await missingRights(api, profile);
    const runtimeVersion = stringAt(answer.body, 'status', 'nodeInfo', 'containerRuntimeVersion');
    return { findings: missing === undefined ? [found] : [found, missing], runtimeVersion };
  } catch (error) {
    return { findings: [{ state: 'stops', subject, said: [messageOf(error)] }], runtimeVersion: undefined };
  }
}

function refusalOf(answer: KubeAnswer, nodeName: string, server: string): string | undefined {
  if (answer.status === 200) return undefined;
  const said = `${server} answered ${describeAnswer(answer)}`;
  if (answer.status === 401) return `${said}; the token or certificate is not valid there`;
  if (answer.status === 403) return `${said}; apply the agent's roles (deploy/kustomize/agent/rbac.yaml)`;
  if (answer.status === 404)
    return `${said}; --node-name must be the name that kubectl get nodes shows, not ${nodeName}`;
  return said;
}

interface Right {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
}

const RIGHTS: readonly Right[] = [
  { verb: 'patch', group: '', resource: 'nodes' },
  { verb: 'get', group: '', resource: 'pods' },
  { verb: 'list', group: '', resource: 'pods' },
  { verb: 'watch', group: '', resource: 'pods' },
  { verb: 'create', group: 'events.k8s.io', resource: 'events' },
];
const GPUSHARE_RIGHTS: readonly Right[] = [{ verb: 'patch', group: '', resource: 'nodes', subresource: 'status' }];

/** Asks the API server what we may do; a server that does not tell is no finding. */
async function missingRights(api: KubeApi, profile: AgentConfig['profile']): Promise<CheckFinding | undefined> {
  const rights = profile === 'gpushare' ? [...RIGHTS, ...GPUSHARE_RIGHTS] : RIGHTS;
  const missing: string[] = [];
  for (const right of rights) {
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: right },
    };
    const path = apiPath('authorization.k8s.io/v1', 'selfsubjectaccessreviews');
    const answer = await api.request('POST', path, { body, timeoutMillis: API_TIMEOUT_MILLIS });
    if (answer.status !== 201 || isAllowed(answer.body)) continue;
    missing.push([right.verb, [right.resource, right.subresource ?? []].flat().join('/')].join(' '));
  }
  if (missing.length === 0) return undefined;
  const said = `the API server forbids: ${missing.join(', ')}; apply deploy/kustomize/agent/rbac.yaml`;
  return { state: 'stops', subject: 'permissions', said: [said] };
}

function isAllowed(review: unknown): boolean {
  const status = isRecord(review) ? review['status'] : undefined;
  return isRecord(status) && status['allowed'] === true;
}

const MARKS: Readonly<Record<CheckFinding['state'], string>> = { ok: 'ok', note: 'note', stops: 'STOPS' };
const MARK_WIDTH = 7;
const SUBJECT_WIDTH = 19;

function render(nodeName: string, findings: readonly CheckFinding[]): CheckResult {
  const lines = findings.flatMap(({ state, subject, said }) =>
    said.flatMap((part, index) => {
      const [head = '', ...rest] = part.split('\n');
      const lead = index === 0 ? MARKS[state].padEnd(MARK_WIDTH) + subject.padEnd(SUBJECT_WIDTH) : indent();
      return [lead + head, ...rest.map((line) => indent() + line)];
    }),
  );
  const stopping = findings.filter(({ state }) => state === 'stops').length;
  const verdict =
    stopping === 0
      ? 'Nothing would stop the agent on this node.'
      : `${stopping === 1 ? 'One thing' : `${stopping} things`} would stop the agent on this node.`;
  return { text: `Node ${nodeName}\n\n${lines.join('\n')}\n\n${verdict}\n`, ok: stopping === 0 };
}

function indent(): string {
  return ' '.repeat(MARK_WIDTH + SUBJECT_WIDTH);
}
