// The shipped manifests: well formed, complete, spelled as Kubernetes spells them, and in agreement with the extender's
// own reading of its flags. Needs no cluster and no kustomize.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dumpYaml, loadYaml } from '@kubernetes/client-node';
import { parse, stringify } from 'yaml';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../extender/config.ts';
import type { ExtenderConfig } from '../../extender/config.ts';
import { PORT_NAME } from '../../extender/kube/endpoints-record.ts';
import { stringAt } from '../../extender/kube/kube-api.ts';
import { at, listAt } from '../support/api-connection.ts';
import {
  DEPLOY,
  documentIn,
  documentsIn,
  filesOfKustomization,
  manifests,
  patched,
  yamlFiles,
} from '../support/deploy-files.ts';

const KUSTOMIZATIONS = yamlFiles().filter((file) => file.endsWith('/kustomization.yaml'));
const CONTAINER = 'spec.template.spec.containers.0';
const POD = 'spec.template.spec';

const BASE = documentIn('kustomize/base/deployment.yaml');
const GPUSHARE = patched(BASE, documentIn('kustomize/overlays/gpushare/profile.yaml'));
const PLAIN_HTTP = patched(GPUSHARE, documentIn('kustomize/components/plain-http/plain-http.yaml'));

/** API objects, as opposed to files that configure kustomize or kube-scheduler. */
const OBJECTS = manifests()
  .filter(({ content }) => !/^(kustomize|kubescheduler)\.config\.k8s\.io\//.test(String(at(content, 'apiVersion'))))
  .map(({ file, content }) => [`${String(at(content, 'kind'))} in ${file}`, content] as const);

/** What a typed client makes of an object: fields it does not know are gone. */
function asTyped(object: unknown): unknown {
  return parse(dumpYaml(loadYaml(stringify(object))));
}

/** How the extender understands the arguments of a Deployment, in the environment it sets. */
function configOf(deployment: unknown): ExtenderConfig & { readonly warnings: readonly string[] } {
  const env = listAt(deployment, `${CONTAINER}.env`).map((entry) => {
    const field = `<${String(at(entry, 'valueFrom.fieldRef.fieldPath'))}>`;
    return [String(at(entry, 'name')), stringAt(entry, 'value') ?? field] as const;
  });
  const result = loadConfig({
    argv: listAt(deployment, `${CONTAINER}.args`).map(String),
    env: {
      ...Object.fromEntries(env),
      POD_NAME: 'gpuloom-extender-0',
      POD_NAMESPACE: 'gpuloom-system',
      POD_IP: '10.0.0.5',
    },
    readFile: (path) => {
      throw new Error(`${path} is not in the image`);
    },
    version: '0.0.0',
  });
  if (result.kind !== 'config') throw new Error(JSON.stringify(result));
  return { ...result.config, warnings: result.warnings };
}

describe('files under deploy/', () => {
  it.each(yamlFiles())('%s parses, without duplicate keys', (file) => {
    expect(documentsIn(file).every(({ content }) => content !== null)).toBe(true);
  });

  it.each(KUSTOMIZATIONS)('%s names files that exist', (file) => {
    const missing = filesOfKustomization(file).filter((path) => !existsSync(join(DEPLOY, path)));
    expect(missing).toEqual([]);
  });

  it('of a kustomization are all named by it', () => {
    const named = new Set(KUSTOMIZATIONS.flatMap(filesOfKustomization));
    const folders = ['kustomize', 'policies'].flatMap((folder) => yamlFiles(folder));
    expect(folders.filter((file) => !KUSTOMIZATIONS.includes(file) && !named.has(file))).toEqual([]);
  });

  it.each(OBJECTS)('%s has only fields that its kind has', (_name, object) => {
    expect(asTyped(object)).toEqual(object);
  });

  it('are checked by something that notices a misspelt field', () => {
    const misspelt = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: { port: [{ port: 443 }] } };
    expect(asTyped(misspelt)).not.toEqual(misspelt);
  });

  it.each(OBJECTS)('%s says its namespace unless it has none', (_name, object) => {
    const global = /^(Namespace|ClusterRole|ClusterRoleBinding|ValidatingAdmissionPolicy(Binding)?)$/;
    expect(at(object, 'metadata.namespace') === undefined).toBe(global.test(String(at(object, 'kind'))));
  });
});

describe('the Deployment of the extender', () => {
  it('runs Node with the flags of `npm run extender`, but for the size of the heap', () => {
    const flags = (words: readonly string[]): readonly string[] =>
      words.filter((word) => word.startsWith('--') && !word.startsWith('--max-old-space-size=')).sort();
    const dockerfile = readFileSync(join(DEPLOY, 'docker/extender.Dockerfile'), 'utf8');
    const entrypoint = /^ENTRYPOINT (\[.*\])$/m.exec(dockerfile)?.[1] ?? '[]';
    const variable = listAt(BASE, `${CONTAINER}.env`).find((entry) => at(entry, 'name') === 'NODE_OPTIONS');
    const shipped = [...(JSON.parse(entrypoint) as string[]), ...String(at(variable, 'value')).split(' ')];
    const { scripts } = JSON.parse(readFileSync(join(DEPLOY, '../package.json'), 'utf8')) as {
      readonly scripts: { readonly extender: string };
    };
    expect(flags(shipped)).toEqual(flags(scripts.extender.split(' ')));
    expect(flags(shipped)).not.toHaveLength(0);
  });

  it('is started with flags that mean mutual TLS for kube-scheduler alone, a real cluster and a lease of its namespace', () => {
    expect(configOf(BASE)).toMatchObject({
      cluster: 'kube',
      profile: 'gpuloom',
      tls: { clientCaFile: '/etc/gpuloom/tls/ca.crt', clientNames: ['system:kube-scheduler'] },
      insecureListen: false,
      leaseNamespace: 'gpuloom-system',
      leaseName: 'gpuloom-extender',
      identity: 'gpuloom-extender-0',
    });
    // Said to whoever opens the operator's port; the NetworkPolicy is the answer to it.
    expect(configOf(BASE).warnings.filter((warning) => !warning.includes('NetworkPolicy'))).toEqual([]);
  });

  it('has in the gpushare overlay the same flags and the gpushare profile', () => {
    const { warnings: _warnings, ...base } = configOf(BASE);
    expect(configOf(GPUSHARE)).toMatchObject({ ...base, profile: 'gpushare' });
  });

  it('needs no certificate without TLS, and says that it accepts this', () => {
    expect(configOf(PLAIN_HTTP)).toMatchObject({ profile: 'gpushare', insecureListen: true });
    expect(configOf(PLAIN_HTTP).tls).toBeUndefined();
    expect(listAt(PLAIN_HTTP, `${POD}.volumes`).map((volume) => at(volume, 'name'))).toEqual(['compile-cache']);
    expect(JSON.stringify(PLAIN_HTTP)).not.toContain('/etc/gpuloom/tls');
  });

  it('listens where its ports, probes, Services and NetworkPolicy expect it', () => {
    const { listen, ops } = configOf(BASE);
    const container = at(BASE, CONTAINER);
    expect(listAt(container, 'ports')).toEqual([
      { name: 'verbs', containerPort: listen.port, protocol: 'TCP' },
      { name: 'ops', containerPort: ops.port, protocol: 'TCP' },
    ]);
    expect(at(container, 'readinessProbe.httpGet')).toEqual({ path: '/readyz?standby=ok', port: 'ops' });
    expect(at(container, 'livenessProbe.httpGet')).toEqual({ path: '/healthz', port: 'ops' });
    const service = documentIn('kustomize/base/service.yaml');
    expect(listAt(service, 'spec.ports')).toEqual([{ name: PORT_NAME, port: 443, targetPort: listen.port }]);
    const nodePort = patched(service, documentIn('kustomize/overlays/gpushare/node-port.yaml'));
    expect(at(nodePort, 'spec')).toMatchObject({ type: 'NodePort', ports: [{ name: PORT_NAME, nodePort: 32766 }] });
    const policy = documentIn('kustomize/base/network-policy.yaml');
    const opened = listAt(policy, 'spec.ingress').flatMap((rule) =>
      listAt(rule, 'ports').map((port) => at(port, 'port')),
    );
    expect(opened).toEqual(['verbs', 'ops']);
  });

  it('is what the NetworkPolicy and the PodDisruptionBudget select, by labels of its own', () => {
    const labels = at(BASE, 'spec.template.metadata.labels');
    const selectors = [
      at(documentIn('kustomize/base/disruption-budget.yaml'), 'spec.selector.matchLabels'),
      at(documentIn('kustomize/base/network-policy.yaml'), 'spec.podSelector.matchLabels'),
      at(BASE, 'spec.selector.matchLabels'),
    ];
    for (const selector of selectors) expect(labels).toMatchObject({ ...Object(selector) });
  });

  it('is reached under the name that the scheduler configurations use', () => {
    const url = new URL(String(at(documentIn('kustomize/scheduler/config.yaml'), 'extenders.0.urlPrefix')));
    const metadata = at(documentIn('kustomize/base/service.yaml'), 'metadata');
    expect(url.hostname).toBe(`${String(at(metadata, 'name'))}.${String(at(metadata, 'namespace'))}.svc`);
    expect(url.port || '443').toBe('443');
  });

  it('is behind the Service through the leader alone, which publishes itself there', () => {
    const service = documentIn('kustomize/base/service.yaml');
    expect(at(service, 'spec.selector')).toBeUndefined();
    for (const deployment of [BASE, GPUSHARE, PLAIN_HTTP]) {
      const { publish, leaseNamespace } = configOf(deployment);
      expect([publish?.service, leaseNamespace]).toEqual([
        at(service, 'metadata.name'),
        at(service, 'metadata.namespace'),
      ]);
    }
    const podIp = listAt(BASE, `${CONTAINER}.env`).find((entry) => at(entry, 'name') === 'POD_IP');
    expect(at(podIp, 'valueFrom.fieldRef.fieldPath')).toBe('status.podIP');
  });

  it('always keeps one replica with a warm view, through updates and drained nodes', () => {
    expect(at(BASE, 'spec.replicas')).toBe(2);
    expect(at(BASE, 'spec.strategy.rollingUpdate')).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    expect(at(documentIn('kustomize/base/disruption-budget.yaml'), 'spec.minAvailable')).toBe(1);
  });

  it('has memory for its heap and for all request bodies that may arrive at once', () => {
    const options = listAt(BASE, `${CONTAINER}.env`).find((entry) => at(entry, 'name') === 'NODE_OPTIONS');
    const heapMiB = Number(/--max-old-space-size=(\d+)/.exec(String(at(options, 'value')))?.[1]);
    const limitMiB = Number(/^(\d+)Mi$/.exec(String(at(BASE, `${CONTAINER}.resources.limits.memory`)))?.[1]);
    const BODIES_AT_ONCE = 4;
    expect(limitMiB).toBeGreaterThan(heapMiB + BODIES_AT_ONCE * configOf(BASE).bodyLimitMiB);
  });

  it('outlives the calls that kube-scheduler still waits for', () => {
    const httpTimeout = /^(\d+)s$/.exec(
      String(at(documentIn('scheduler/kube-scheduler-v1.yaml'), 'extenders.0.httpTimeout')),
    );
    expect(Number(at(BASE, `${POD}.terminationGracePeriodSeconds`))).toBeGreaterThan(Number(httpTimeout?.[1]));
  });

  it('asks for no GPU, which only it could give', () => {
    expect(JSON.stringify(at(BASE, `${CONTAINER}.resources`))).not.toMatch(/gpu/);
  });
});

describe.each(['kustomize/base/deployment.yaml', 'kustomize/scheduler/deployment.yaml'])('the pods of %s', (file) => {
  const pod = at(documentIn(file), POD);

  it('meet the restricted pod security standard', () => {
    expect(at(pod, 'securityContext')).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 10001,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    for (const container of listAt(pod, 'containers')) {
      expect(at(container, 'securityContext')).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
    expect(JSON.stringify(pod)).not.toMatch(/hostPath|hostNetwork|hostPID|hostIPC|hostPort|privileged/);
  });

  it('mount only volumes that they have, and use every one', () => {
    const mounted = listAt(pod, 'containers').flatMap((one) =>
      listAt(one, 'volumeMounts').map((mount) => String(at(mount, 'name'))),
    );
    expect(mounted.sort()).toEqual(
      listAt(pod, 'volumes')
        .map((volume) => String(at(volume, 'name')))
        .sort(),
    );
  });

  it('do not show their keys to everybody', () => {
    const secrets = listAt(pod, 'volumes').filter((volume) => at(volume, 'secret') !== undefined);
    expect(secrets.map((volume) => at(volume, 'secret.defaultMode'))).toEqual([0o440]);
  });
});
