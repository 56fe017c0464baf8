// The shipped node agent: in agreement with its own reading of its flags, with the calls it makes and with what it needs of
// its host, and with no more than that.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadAgentConfig } from '../../device-plugin/config.ts';
import type { AgentConfig } from '../../device-plugin/config.ts';
import {
  GPU_OVERRIDE_ANNOTATION,
  GPUSHARE_NODE_RESOURCES,
  INVENTORY_ANNOTATION,
} from '../../extender/core/resources.ts';
import { stringAt } from '../../extender/kube/kube-api.ts';
import { at, listAt } from '../support/api-connection.ts';
import { DEPLOY, documentIn, documentsIn, manifests, patched, yamlFiles } from '../support/deploy-files.ts';
import { granted, needed, resourcesIn, resourcesOf } from '../support/role-rules.ts';
import type { ApiCall } from '../support/role-rules.ts';
import { shippedStart } from '../support/shipped-agent.ts';

const POD = 'spec.template.spec';
const CONTAINER = `${POD}.containers.0`;
const AGENT = { namespace: 'gpuloom-agent', name: 'gpuloom-agent' };
const ROOT = resolve(DEPLOY, '..');

const BASE = documentIn('kustomize/agent/daemonset.yaml');
const GPUSHARE = patched(BASE, documentIn('kustomize/overlays/agent-gpushare/profile.yaml'));

function withComponent(name: string, patch: string): unknown {
  return patched(BASE, documentIn(`kustomize/components/${name}/${patch}`));
}

/** How the agent understands the arguments of a DaemonSet, in the environment it sets. */
function configOf(daemonSet: unknown): AgentConfig & { readonly warnings: readonly string[] } {
  const env = listAt(daemonSet, `${CONTAINER}.env`).map((entry) => {
    const field = `<${String(at(entry, 'valueFrom.fieldRef.fieldPath'))}>`;
    return [String(at(entry, 'name')), stringAt(entry, 'value') ?? field] as const;
  });
  const variables = Object.fromEntries(
    env.map(([name, value]) => [name, value === '<spec.nodeName>' ? 'gpu-1' : value]),
  );
  const result = loadAgentConfig({
    argv: listAt(daemonSet, `${CONTAINER}.args`).map(String),
    env: variables,
    readFile: (path) => {
      throw new Error(`${path} is not in the image`);
    },
    version: '0.0.0',
  });
  if (result.kind !== 'config') throw new Error(JSON.stringify(result));
  return { ...result.config, warnings: result.warnings };
}

interface HostFolder {
  readonly path: string;
  readonly readOnly: boolean;
}

/** Folders of the host that the container sees, each at its own path. */
function hostFolders(daemonSet: unknown): readonly HostFolder[] {
  return listAt(daemonSet, `${POD}.volumes`).flatMap((volume) => {
    const path = stringAt(volume, 'hostPath', 'path');
    if (path === undefined) return [];
    const mount = listAt(daemonSet, `${CONTAINER}.volumeMounts`).find(
      (candidate) => at(candidate, 'name') === at(volume, 'name'),
    );
    expect(at(mount, 'mountPath')).toBe(path);
    return [{ path, readOnly: at(mount, 'readOnly') === true }];
  });
}

describe('the DaemonSet of the agent', () => {
  it('is started with flags that mean its own node, and has the gpushare profile in that overlay only', () => {
    const { warnings, ...config } = configOf(BASE);
    expect(config).toMatchObject({ nodeName: 'gpu-1', inventory: 'auto', binding: 'auto', profile: 'gpuloom' });
    // Said to whoever opens the listener; the NetworkPolicy is the answer to it.
    expect(warnings.filter((warning) => !warning.includes('NetworkPolicy'))).toEqual([]);
    const { warnings: _warnings, ...gpushare } = configOf(GPUSHARE);
    expect(gpushare).toEqual({ ...config, profile: 'gpushare' });
  });

  it('runs on nodes that are labelled for it, whatever their taints', () => {
    expect(at(BASE, `${POD}.nodeSelector`)).toEqual({ 'gpuloom.io/agent': 'true' });
    expect(at(GPUSHARE, `${POD}.nodeSelector`)).toEqual({ gpushare: 'true' });
    expect(listAt(BASE, `${POD}.tolerations`)).toEqual([{ operator: 'Exists' }]);
    expect(at(BASE, `${POD}.priorityClassName`)).toBe('system-node-critical');
  });

  it('never has two agents on one node', () => {
    expect(at(BASE, 'spec.updateStrategy')).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } });
  });

  it('sees of its host what its flags name, and can write no more than it must', () => {
    const { kubeletDir, podResourcesSocket, cdiDir, stateDir } = configOf(BASE);
    const expected = [
      { path: kubeletDir, readOnly: false },
      { path: resolve(podResourcesSocket, '..'), readOnly: true },
      { path: cdiDir, readOnly: false },
      { path: stateDir, readOnly: false },
    ];
    expect(hostFolders(BASE)).toEqual(expected);
    expect(hostFolders(GPUSHARE)).toEqual(expected);
  });

  it('is root without any of its powers', () => {
    expect(at(BASE, `${CONTAINER}.securityContext`)).toEqual({
      runAsUser: 0,
      runAsGroup: 0,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(at(BASE, `${POD}.securityContext`)).toEqual({ seccompProfile: { type: 'RuntimeDefault' } });
    for (const daemonSet of [BASE, GPUSHARE]) {
      expect(JSON.stringify(daemonSet)).not.toMatch(/hostNetwork|hostPID|hostIPC|hostPort|"privileged":true/);
    }
  });

  it('mounts only volumes that it has, and uses every one', () => {
    const names = (path: string): readonly string[] => listAt(BASE, path).map((entry) => String(at(entry, 'name')));
    expect([...names(`${CONTAINER}.volumeMounts`)].sort()).toEqual([...names(`${POD}.volumes`)].sort());
  });

  it('listens where its port, probes and NetworkPolicy expect it', () => {
    const { listen } = configOf(BASE);
    expect(listAt(BASE, `${CONTAINER}.ports`)).toEqual([{ name: 'ops', containerPort: listen.port, protocol: 'TCP' }]);
    expect(at(BASE, `${CONTAINER}.readinessProbe.httpGet`)).toEqual({ path: '/readyz', port: 'ops' });
    expect(at(BASE, `${CONTAINER}.livenessProbe.httpGet`)).toEqual({ path: '/healthz', port: 'ops' });
    expect(at(BASE, `${CONTAINER}.startupProbe.httpGet`)).toEqual({ path: '/healthz', port: 'ops' });
    const policy = documentIn('kustomize/agent/network-policy.yaml');
    const opened = listAt(policy, 'spec.ingress').flatMap((rule) => listAt(rule, 'ports'));
    expect(opened.map((port) => at(port, 'port'))).toEqual(['ops']);
    const labels = at(BASE, 'spec.template.metadata.labels');
    for (const selector of [at(policy, 'spec.podSelector.matchLabels'), at(BASE, 'spec.selector.matchLabels')]) {
      expect(labels).toMatchObject({ ...Object(selector) });
    }
  });

  it('lets the extender in to read the load, by the labels that the extender has', () => {
    const [from] = listAt(documentIn('kustomize/agent/network-policy.yaml'), 'spec.ingress.0.from');
    const extender = documentIn('kustomize/base/deployment.yaml');
    expect(at(from, 'podSelector.matchLabels')).toEqual(at(extender, 'spec.selector.matchLabels'));
    const namespaces = at(from, 'namespaceSelector.matchLabels');
    expect(namespaces).toEqual({ 'kubernetes.io/metadata.name': at(extender, 'metadata.namespace') });
  });

  it('has memory for its heap and what lies beside it, within 128 MiB', () => {
    const heapMiB = Number(/--max-old-space-size=(\d+)/.exec(shippedStart().flags.join(' '))?.[1]);
    expect(at(BASE, `${CONTAINER}.resources.limits`)).toEqual({ memory: '128Mi' });
    expect(heapMiB).toBeLessThanOrEqual(64);
  });
});

describe('what a cluster may add to the agent', () => {
  it.each([
    ['agent-host-pids', 'host-pids.yaml', { hostPID: true }],
    ['agent-runtime-class', 'runtime-class.yaml', { runtimeClassName: 'nvidia' }],
  ])('by %s is that one field', (name, patch, added) => {
    expect(at(withComponent(name, patch), POD)).toEqual({ ...Object(at(BASE, POD)), ...added });
  });

  it("by agent-containerd-config is the sight of containerd's configuration, where the agent looks for it", () => {
    const seen = hostFolders(withComponent('agent-containerd-config', 'containerd-config.yaml'));
    const added = seen.slice(hostFolders(BASE).length);
    expect(added).toEqual([{ path: resolve(configOf(BASE).containerdConfig, '..'), readOnly: true }]);
  });

  it('by agent-mps is isolation mps, and the sight of the pipe directory in which the agent looks for the daemon', () => {
    const added = withComponent('agent-mps', 'mps.yaml');
    const { isolation, mpsPipeDirectory } = configOf(added);
    expect(isolation).toBe('mps');
    const seen = hostFolders(added).slice(hostFolders(BASE).length);
    expect(seen).toEqual([{ path: mpsPipeDirectory, readOnly: true }]);
  });
});

describe('the namespace of the agent', () => {
  it('allows what the agent needs, which is why nothing but the agent is in it', () => {
    const labels = at(documentIn('kustomize/agent/namespace.yaml'), 'metadata.labels');
    expect(labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'privileged' });
    const inside = manifests().filter(({ content }) => at(content, 'metadata.namespace') === AGENT.namespace);
    expect(inside.map(({ content }) => at(content, 'metadata.name'))).toEqual(inside.map(() => AGENT.name));
    expect(inside.map(({ content }) => String(at(content, 'kind'))).sort()).toEqual([
      'DaemonSet',
      'NetworkPolicy',
      'ServiceAccount',
    ]);
  });
});

const CALLS: readonly ApiCall[] = [
  { by: 'inventory-publisher.ts: GET the node', verb: 'get', group: '', resource: 'nodes' },
  { by: 'inventory-publisher.ts: PATCH the node', verb: 'patch', group: '', resource: 'nodes' },
  { by: 'node-pods.ts: GET pods', verb: 'list', group: '', resource: 'pods' },
  { by: 'node-pods.ts: GET pods?watch', verb: 'watch', group: '', resource: 'pods' },
  { by: 'node-pods.ts: GET one pod', verb: 'get', group: '', resource: 'pods' },
  { by: 'events.ts: POST events', verb: 'create', group: 'events.k8s.io', resource: 'events' },
  { by: 'events.ts: PATCH one event', verb: 'patch', group: 'events.k8s.io', resource: 'events' },
];

const GPUSHARE_CALLS: readonly ApiCall[] = [
  { by: 'inventory-publisher.ts: PATCH the status of the node', verb: 'patch', group: '', resource: 'nodes/status' },
];

/** Granted to everybody by the built-in role system:basic-user. */
const BASIC_USER = ['authorization.k8s.io:selfsubjectaccessreviews'];

describe('the permissions of the agent', () => {
  it('are the calls it makes, no more and no less', () => {
    expect(granted('kustomize/agent', AGENT)).toEqual(needed(CALLS));
  });

  it('grow in the gpushare overlay by the count of GPUs in the node status, and by nothing else', () => {
    expect(granted('kustomize/overlays/agent-gpushare', AGENT)).toEqual(needed(GPUSHARE_CALLS));
  });

  it('are judged by a list of calls that names every resource in the client code', () => {
    const own = resourcesIn(join(ROOT, 'device-plugin'));
    const events = resourcesIn(join(ROOT, 'extender/kube'), (file) => file === 'events.ts');
    // The publisher makes the path of the status from that of the node.
    expect(readFileSync(join(ROOT, 'device-plugin/kube/inventory-publisher.ts'), 'utf8')).toContain('${path}/status');
    const made = [...own, ...events, ':nodes/status'];
    expect([...new Set(made)].sort()).toEqual([...resourcesOf([...CALLS, ...GPUSHARE_CALLS]), ...BASIC_USER].sort());
  });

  it('never reach secrets, writes to pods, or everything at once', () => {
    const all = [...granted('kustomize/agent', AGENT), ...granted('kustomize/overlays/agent-gpushare', AGENT)];
    expect(all.join('\n')).not.toMatch(
      /\*|secrets|proxy|(update|patch|delete|create) pods|(update|delete|create) nodes/,
    );
  });

  it('on nodes are narrowed by a policy to the annotation and the amount that the agent writes', () => {
    const [policy, binding] = documentsIn('policies/inventory.yaml').map(({ content }) => content);
    const text = JSON.stringify(at(policy, 'spec'));
    expect(text).toContain(`system:serviceaccount:${AGENT.namespace}:${AGENT.name}`);
    for (const name of [INVENTORY_ANNOTATION, GPUSHARE_NODE_RESOURCES.count, GPU_OVERRIDE_ANNOTATION]) {
      expect(text).toContain(name);
    }
    expect(at(policy, 'spec.failurePolicy')).toBe('Fail');
    expect(listAt(policy, 'spec.matchConstraints.resourceRules.0.resources')).toEqual(['nodes', 'nodes/status']);
    expect(at(binding, 'spec')).toEqual({
      policyName: at(policy, 'metadata.name'),
      validationActions: ['Deny', 'Audit'],
    });
  });
});

describe("the agent's image", () => {
  const text = readFileSync(join(DEPLOY, 'docker/device-plugin.Dockerfile'), 'utf8');
  const sent = readFileSync(join(DEPLOY, 'docker/device-plugin.Dockerfile.dockerignore'), 'utf8').split('\n');

  it('is built from what the build is sent', () => {
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '));
    expect(copied.map((source) => `!${source}`).sort()).toEqual(sent.filter((line) => line.startsWith('!')).sort());
  });

  it('has the API definitions beside the compiled code, and starts the agent', () => {
    expect(text).toContain('cp device-plugin/proto/*.proto dist/device-plugin/proto/');
    expect(shippedStart().script).toBe('dist/device-plugin/main.js');
    expect(text).toContain(`EXPOSE ${configOf(BASE).listen.port}`);
  });

  it('starts the agent with flags that this Node knows, with which npm run agent starts it too', () => {
    const { flags } = shippedStart();
    const { scripts } = JSON.parse(readFileSync(join(DEPLOY, '../package.json'), 'utf8')) as {
      scripts: Readonly<Record<string, string>>;
    };
    expect(scripts['agent']).toBe(['node', ...flags, 'device-plugin/main.ts'].join(' '));
    expect(spawnSync(process.execPath, [...flags, '--version'])).toMatchObject({ status: 0 });
  });

  it('alone says how Node runs, so that nothing says otherwise', () => {
    expect(shippedStart().env).not.toHaveProperty('NODE_OPTIONS');
    for (const part of ['command', 'lifecycle']) expect(at(BASE, `${CONTAINER}.${part}`)).toBeUndefined();
  });

  it('has worker threads left for files while one waits for events and several are lost to GPUs that hang', () => {
    const threads = Number(/^ENV UV_THREADPOOL_SIZE=(\d+)$/m.exec(text)?.[1]);
    expect(threads).toBeGreaterThanOrEqual(8);
    // A DaemonSet that set it too would win over the image.
    expect(listAt(BASE, `${CONTAINER}.env`).map((entry) => at(entry, 'name'))).not.toContain('UV_THREADPOOL_SIZE');
  });

  it('is the one that the manifests name', () => {
    const images = listAt(documentIn('kustomize/agent/kustomization.yaml'), 'images').map((image) => at(image, 'name'));
    expect(images).toEqual([at(BASE, `${CONTAINER}.image`)]);
    expect(yamlFiles('kustomize/agent')).toHaveLength(5);
  });
});
