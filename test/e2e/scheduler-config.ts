// Makes a shipped KubeSchedulerConfiguration usable on a loopback control plane. What it changes, and nothing else:
// the kubeconfig path, the API call rate when asked, leader election (off), the origin of every extender's URL when
// given (its path stays; TLS settings go with an http origin), and the API version this kube-scheduler reads.

import { parseAllDocuments, stringify } from 'yaml';

export interface SchedulerConfigSettings {
  readonly kubeconfig: string;
  /** Minor version of the Kubernetes that will read it. */
  readonly minor: number;
  /** Such as `http://127.0.0.1:9443`. */
  readonly extenderOrigin?: string;
  /** Calls per second that the scheduler may make; kube-scheduler's own default is 50. */
  readonly qps?: number;
  /** Where the old plain-text health listener goes; only versions before 1.23 have one. */
  readonly insecureHealthAddress: string;
}

type Fields = Record<string, unknown>;

const KIND = 'KubeSchedulerConfiguration';

export function prepareSchedulerConfig(text: string, settings: SchedulerConfigSettings): string {
  const config = findConfiguration(text);
  const version = configVersion(settings.minor);
  config['apiVersion'] = `kubescheduler.config.k8s.io/${version}`;
  config['clientConnection'] = {
    ...fieldsOf(config['clientConnection']),
    kubeconfig: settings.kubeconfig,
    ...(settings.qps === undefined ? {} : { qps: settings.qps, burst: settings.qps * 2 }),
  };
  config['leaderElection'] = { leaderElect: false };
  if (version !== 'v1') liftProfileSettings(config);
  if (version === 'v1beta1') {
    config['healthzBindAddress'] = settings.insecureHealthAddress;
    config['metricsBindAddress'] = settings.insecureHealthAddress;
  }
  const origin = settings.extenderOrigin;
  if (origin !== undefined) config['extenders'] = listOf(config['extenders']).map((entry) => redirect(entry, origin));
  return stringify(config);
}

/** The document itself, or the one inside a ConfigMap. */
function findConfiguration(text: string): Fields {
  for (const document of parseAllDocuments(text)) {
    const content = fieldsOf(document.toJS());
    if (content['kind'] === KIND) return content;
    if (content['kind'] !== 'ConfigMap') continue;
    for (const value of Object.values(fieldsOf(content['data']))) {
      if (typeof value === 'string' && value.includes(KIND)) return findConfiguration(value);
    }
  }
  throw new Error(`no ${KIND} in the scheduler's configuration file`);
}

function configVersion(minor: number): string {
  if (minor < 22) return 'v1beta1';
  return minor < 25 ? 'v1beta2' : 'v1';
}

/** Before `v1`, percentageOfNodesToScore exists only for all profiles together. */
function liftProfileSettings(config: Fields): void {
  const profiles = listOf(config['profiles']).map(fieldsOf);
  if (profiles.length === 0) return;
  for (const profile of profiles) {
    const percentage = profile['percentageOfNodesToScore'];
    if (percentage !== undefined) config['percentageOfNodesToScore'] = percentage;
    delete profile['percentageOfNodesToScore'];
  }
  config['profiles'] = profiles;
}

function redirect(entry: unknown, origin: string): Fields {
  const { enableHTTPS, tlsConfig, ...plain } = fieldsOf(entry);
  const path = new URL(String(plain['urlPrefix'])).pathname;
  const urlPrefix = origin + (path === '/' ? '' : path);
  return origin.startsWith('https:') ? { ...plain, enableHTTPS, tlsConfig, urlPrefix } : { ...plain, urlPrefix };
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
