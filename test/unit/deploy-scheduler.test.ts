// The shipped kube-scheduler configurations against what the extender really serves and how it really scores.

import { afterAll, describe, expect, it } from 'vitest';
import { MAX_EXTENDER_SCORE } from '../../extender/core/ranking.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import type { ProfileName } from '../../extender/core/resources.ts';
import { at, listAt } from '../support/api-connection.ts';
import { TestCluster } from '../support/application.ts';
import { gpusOf, podManifest } from '../support/builders.ts';
import { documentIn } from '../support/deploy-files.ts';
import { verbsUnderTest } from '../support/http-shell.ts';

const OWN = [
  'scheduler/kube-scheduler-v1.yaml',
  'scheduler/kube-scheduler-v1beta1.yaml',
  'kustomize/scheduler/config.yaml',
];
const SHIPPED: readonly (readonly [file: string, profile: ProfileName])[] = [
  ...OWN.map((file) => [file, 'gpuloom'] as const),
  ['scheduler/gpushare-v1.yaml', 'gpushare'],
];

/** Sums of the default score plugins' weights, each of which gives 0 to 100 points times its weight. */
const IN_TREE_WEIGHTS = { 'Kubernetes 1.20': 8, 'Kubernetes 1.33': 12 };

/** The file's only extender: kube-scheduler allows one with a bind verb. */
function stanza(file: string): unknown {
  const extenders = listAt(documentIn(file), 'extenders');
  expect(extenders).toHaveLength(1);
  return extenders[0];
}

function fieldsOf(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}

describe.each(SHIPPED)('%s', (file, profile) => {
  const { listener } = verbsUnderTest();
  afterAll(() => listener.close());

  it('calls only routes that the extender has', () => {
    const prefix = new URL(String(at(stanza(file), 'urlPrefix'))).pathname;
    const verbs = Object.entries(fieldsOf(stanza(file))).filter(([key]) => key.endsWith('Verb'));
    const routes = verbs.map(([, verb]) => `${prefix}/${String(verb)}`);
    expect(verbs.map(([key]) => key)).toContain('bindVerb');
    expect(routes.filter((url) => !listener.app.hasRoute({ method: 'POST', url }))).toEqual([]);
  });

  it('shows the extender the pods of its profile and no others, and keeps counting their totals itself', () => {
    const { memoryResource, coreResource } = PROFILES[profile];
    expect(listAt(stanza(file), 'managedResources')).toEqual([
      { name: memoryResource, ignoredByScheduler: false },
      { name: coreResource, ignoredByScheduler: false },
    ]);
  });

  it('never places a GPU pod past the extender, and sends names instead of nodes', () => {
    expect(stanza(file)).toMatchObject({ ignorable: false, nodeCacheCapable: true, httpTimeout: '5s' });
  });

  it('checks the server and shows a certificate, as https without a CA would do neither', () => {
    expect(at(stanza(file), 'urlPrefix')).toMatch(/^https:/);
    expect(at(stanza(file), 'enableHTTPS')).toBe(true);
    const tls = fieldsOf(at(stanza(file), 'tlsConfig'));
    expect(Object.keys(tls).sort()).toEqual(['caFile', 'certFile', 'keyFile', 'serverName']);
    expect(at(tls, 'serverName')).toBe('gpuloom-extender.gpuloom-system.svc');
  });

  it('looks at every node before it asks', () => {
    const content = documentIn(file);
    const own = profile === 'gpushare' ? 'default-scheduler' : 'gpuloom';
    const chosen = listAt(content, 'profiles').find((one) => at(one, 'schedulerName') === own);
    expect(chosen).toBeDefined();
    const global = String(at(content, 'apiVersion')).endsWith('/v1beta1');
    expect(at(global ? content : chosen, 'percentageOfNodesToScore')).toBe(100);
  });
});

describe('the weight of the extender', () => {
  it.each(OWN)('lets the best of equal nodes lead by more than all in-tree scores together, in %s', (file) => {
    const gpus = gpusOf(1, 16);
    const cluster = new TestCluster(['a', 'b', 'c'].map((name) => ({ name, gpus })));
    const Pod = podManifest({ name: 'p', slices: 4 });
    const scores = cluster.app.prioritize({ Pod, NodeNames: ['a', 'b', 'c'] }).map(({ Score }) => Score);
    const [best = 0, second = 0] = [...scores].sort((left, right) => right - left);
    const lead = (best - second) * (100 / MAX_EXTENDER_SCORE) * Number(at(stanza(file), 'weight'));
    expect(lead).toBeGreaterThan(100 * Math.max(...Object.values(IN_TREE_WEIGHTS)));
  });
});

describe('the shipped stanzas', () => {
  it.each(OWN)('are one and the same but for the place of the certificates, in %s', (file) => {
    const withoutFiles = (name: string): unknown => ({ ...fieldsOf(stanza(name)), tlsConfig: undefined });
    expect(withoutFiles(file)).toEqual(withoutFiles('scheduler/kube-scheduler-v1.yaml'));
  });

  it('leave the default profile alone, and a second scheduler does not have it at all', () => {
    const names = (file: string): unknown[] =>
      listAt(documentIn(file), 'profiles').map((profile) => at(profile, 'schedulerName'));
    const [forV1 = '', forV1beta1 = '', second = ''] = OWN;
    expect(listAt(documentIn(forV1), 'profiles')[0]).toEqual({ schedulerName: 'default-scheduler' });
    expect(names(forV1)).toEqual(['default-scheduler', 'gpuloom']);
    expect(names(forV1beta1)).toEqual(['default-scheduler', 'gpuloom']);
    expect(names(second)).toEqual(['gpuloom']);
  });
});
