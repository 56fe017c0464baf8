// What the harness changes in a shipped scheduler configuration; needs no control plane.

import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';

import { prepareSchedulerConfig } from './scheduler-config.ts';

const SHIPPED = {
  apiVersion: 'kubescheduler.config.k8s.io/v1',
  kind: 'KubeSchedulerConfiguration',
  leaderElection: { leaderElect: true },
  clientConnection: { kubeconfig: '/etc/kubernetes/scheduler.conf', contentType: 'application/json' },
  profiles: [{ schedulerName: 'gpu', percentageOfNodesToScore: 100 }],
  extenders: [
    {
      urlPrefix: 'https://extender.gpuloom.svc:9443/v1',
      filterVerb: 'filter',
      enableHTTPS: true,
      tlsConfig: { caFile: '/ca.crt' },
    },
  ],
};
const SETTINGS = { kubeconfig: '/k', minor: 20, insecureHealthAddress: '127.0.0.1:1', qps: 100 };
const PLAIN = 'http://127.0.0.1:9443';

describe('preparing a shipped scheduler configuration', () => {
  test('keeps the extender path and verbs and replaces its origin and TLS settings', () => {
    const config: unknown = parse(prepareSchedulerConfig(stringify(SHIPPED), { ...SETTINGS, extenderOrigin: PLAIN }));
    expect(config).toMatchObject({ extenders: [{ urlPrefix: `${PLAIN}/v1`, filterVerb: 'filter' }] });
    expect(config).not.toHaveProperty('extenders.0.enableHTTPS');
    expect(config).not.toHaveProperty('extenders.0.tlsConfig');
  });

  test('leaves the extenders alone when no origin is given', () => {
    const config: unknown = parse(prepareSchedulerConfig(stringify(SHIPPED), SETTINGS));
    expect(config).toMatchObject({ extenders: SHIPPED.extenders });
  });

  test.each([
    [20, 'v1beta1'],
    [23, 'v1beta2'],
    [25, 'v1'],
  ])('writes for Kubernetes 1.%i the version %s that it reads', (minor, version) => {
    const config: unknown = parse(prepareSchedulerConfig(stringify(SHIPPED), { ...SETTINGS, minor }));
    expect(config).toMatchObject({ apiVersion: `kubescheduler.config.k8s.io/${version}` });
  });

  test('moves the share of nodes to score out of the profile for versions that know it only globally', () => {
    const config: unknown = parse(prepareSchedulerConfig(stringify(SHIPPED), SETTINGS));
    expect(config).toMatchObject({ percentageOfNodesToScore: 100, profiles: [{ schedulerName: 'gpu' }] });
    expect(config).not.toHaveProperty('profiles.0.percentageOfNodesToScore');
  });

  test('uses the given kubeconfig and call rate, keeps other connection settings, elects no leader', () => {
    const config: unknown = parse(prepareSchedulerConfig(stringify(SHIPPED), SETTINGS));
    expect(config).toMatchObject({
      clientConnection: { kubeconfig: '/k', qps: 100, burst: 200, contentType: 'application/json' },
      leaderElection: { leaderElect: false },
    });
  });

  test('finds the configuration inside a ConfigMap among other documents', () => {
    const map = { kind: 'ConfigMap', data: { 'note.txt': 'x', 'config.yaml': stringify(SHIPPED) } };
    const text = `${stringify({ kind: 'Service' })}---\n${stringify(map)}`;
    expect(parse(prepareSchedulerConfig(text, SETTINGS))).toMatchObject({ kind: 'KubeSchedulerConfiguration' });
  });

  test('says so when a file holds no scheduler configuration', () => {
    expect(() => prepareSchedulerConfig('kind: Service', SETTINGS)).toThrow('no KubeSchedulerConfiguration');
  });
});
