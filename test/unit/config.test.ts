// Configuration as a pure function: precedence, complete error lists, combinations, printing.

import * as fc from 'fast-check';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { leaderElectionFor, loadConfig } from '../../extender/config.ts';
import { containing } from '../support/http-shell.ts';
import type { ConfigInputs, ConfigResult, ExtenderConfig } from '../../extender/config.ts';

interface Given {
  readonly argv?: readonly string[];
  readonly env?: ConfigInputs['env'];
  readonly files?: Readonly<Record<string, string>>;
}

function load({ argv = [], env = {}, files = {} }: Given = {}): ConfigResult {
  const contents = new Map(Object.entries(files));
  const readFile = (path: string): string => {
    const text = contents.get(path);
    if (text === undefined) throw new Error(`ENOENT: no such file, open '${path}'`);
    return text;
  };
  return loadConfig({ argv, env, readFile, version: '9.9.9' });
}

function config(given: Given = {}): ExtenderConfig {
  const result = load(given);
  if (result.kind !== 'config') throw new Error(JSON.stringify(result));
  return result.config;
}

function errors(given: Given): readonly string[] {
  const result = load(given);
  return result.kind === 'errors' ? result.errors : [];
}

function warnings(given: Given): readonly string[] {
  const result = load(given);
  return result.kind === 'config' ? result.warnings : ['not a configuration'];
}

const withTls = ['--tls-cert', 'c', '--tls-key', 'k'];

describe('defaults', () => {
  it('are the documented ones', () => {
    expect(config()).toEqual({
      listen: { host: '127.0.0.1', port: 12345 },
      ops: { host: '127.0.0.1', port: 12346 },
      profile: 'gpuloom',
      policy: 'fragmentation',
      ranking: 'decisive',
      narrow: 32,
      insecureListen: false,
      logLevel: 'info',
      leaseNamespace: 'gpuloom-system',
      leaseName: 'gpuloom-extender',
      bindTimeoutMillis: 3000,
      staleAfterMillis: 180_000,
      reservationHoldMillis: 90_000,
      bodyLimitMiB: 64,
      mixWindow: 4096,
      limits: { batchBesideOnline: 1, batchShareBesideOnlinePercent: 50, batchPerGpu: 4, podsPerGpu: 16 },
      weights: { gpuCountExponent: 0.8, cpuWeight: 0.1, stepPods: 0.04 },
    });
    expect(warnings({})).toEqual([]);
  });

  it('elect a leader with a real cluster unless told otherwise, and never with the embedded one', () => {
    expect(leaderElectionFor(config(), 'kube')).toBe(true);
    expect(leaderElectionFor(config(), 'embedded')).toBe(false);
    expect(leaderElectionFor(config({ argv: ['--no-leader-election'] }), 'kube')).toBe(false);
    expect(leaderElectionFor(config({ env: { GPULOOM_LEADER_ELECTION: 'false' } }), 'kube')).toBe(false);
  });

  it('take the namespace and the identity from the pod when it tells them', () => {
    const mounted = { '/var/run/secrets/kubernetes.io/serviceaccount/namespace': 'kube-system\n' };
    expect(config({ files: mounted, env: { HOSTNAME: 'h' } })).toMatchObject({
      leaseNamespace: 'kube-system',
      identity: 'h',
    });
    const env = { POD_NAMESPACE: 'gpu', POD_NAME: 'extender-0', HOSTNAME: 'h' };
    expect(config({ files: mounted, env })).toMatchObject({ leaseNamespace: 'gpu', identity: 'extender-0' });
    expect(config({ env: { ...env, GPULOOM_LEASE_NAMESPACE: 'mine' } }).leaseNamespace).toBe('mine');
  });
});

describe('publishing the endpoint', () => {
  const argv = ['--publish-endpoint', 'gpuloom-extender', '--listen', '0.0.0.0:1', '--insecure-listen'];

  it('takes the address of the pod, and is off unless a Service is named', () => {
    const publish = { service: 'gpuloom-extender', podIp: '10.1.2.3' };
    expect(config({ argv, env: { POD_IP: '10.1.2.3' } }).publish).toEqual(publish);
    const files = { f: 'publishEndpoint: gpuloom-extender\npodIp: 10.1.2.3\n' };
    expect(config({ argv: ['--config', 'f'], env: { POD_IP: '10.9.9.9' }, files }).publish).toEqual(publish);
    expect(config({ argv, env: { GPULOOM_POD_IP: 'fd00::7', POD_IP: '10.9.9.9' } }).publish?.podIp).toBe('fd00::7');
    const env = { GPULOOM_PUBLISH_ENDPOINT: 'other', POD_IP: '10.1.2.3' };
    expect(config({ env }).publish).toEqual({ ...publish, service: 'other' });
    expect(config({ env: { POD_IP: '10.1.2.3' } })).toEqual(config());
  });

  it.each<[string, Given, string]>([
    ['no address', { argv }, 'set POD_IP from the field status.podIP'],
    [
      'no leader',
      { argv: [...argv, '--no-leader-election'], env: { POD_IP: '10.1.2.3' } },
      'drop --no-leader-election',
    ],
    ['no real cluster', { argv: [...argv, '--cluster=embedded'], env: { POD_IP: '10.1.2.3' } }, '--cluster kube'],
    ['a name for an address', { argv, env: { POD_IP: 'extender-0' } }, 'set POD_IP from status.podIP'],
    ['an address of this host only', { argv, env: { POD_IP: '127.0.0.1' } }, 'set POD_IP from status.podIP'],
    ['no Service name', { argv: ['--publish-endpoint', 'a.b'], env: { POD_IP: '10.1.2.3' } }, 'the name of a Service'],
  ])('is refused with %s', (_what, given, advice) => {
    expect(errors(given)).toEqual([containing(advice)]);
  });

  it('is doubted where the verbs are not served at the published address', () => {
    const given = { argv: ['--publish-endpoint', 'gpuloom-extender'], env: { POD_IP: '10.1.2.3' } };
    expect(warnings(given)).toEqual([containing('listen on 0.0.0.0')]);
  });
});

describe('precedence', () => {
  it('is flag, environment, file, default', () => {
    const files = { f: 'policy: binpack\nnarrow: 1\nlogLevel: debug\nlimits:\n  podsPerGpu: 8\n' };
    const env = {
      GPULOOM_CONFIG: 'f',
      GPULOOM_POLICY: 'spread',
      GPULOOM_NARROW: '2',
      GPULOOM_LIMITS_BATCH_PER_GPU: '2',
    };
    expect(config({ argv: ['--policy', 'topology'], env, files })).toMatchObject({
      policy: 'topology',
      narrow: 2,
      logLevel: 'debug',
      ranking: 'decisive',
      limits: { podsPerGpu: 8, batchPerGpu: 2, batchBesideOnline: 1 },
    });
  });

  it('lets --config win over GPULOOM_CONFIG, and counts an empty variable as not set', () => {
    const files = { a: 'narrow: 1', b: 'narrow: 2' };
    expect(config({ argv: ['--config', 'a'], env: { GPULOOM_CONFIG: 'b' }, files }).narrow).toBe(1);
    expect(config({ env: { GPULOOM_CONFIG: '', GPULOOM_NARROW: '' } }).narrow).toBe(32);
  });

  it('reads every documented flag', () => {
    const argv = [
      ...['--cluster', 'kube', '--kubeconfig', 'kc', '--listen', '[::1]:1', '--ops', 'localhost:2'],
      ...['--profile', 'gpushare', '--policy', 'binpack', '--ranking=advisory', '--narrow', '0'],
      ...[...withTls, '--client-ca', 'ca', '--client-name', 'a', '--client-name', 'b'],
      ...['--no-leader-election', '--log-level', 'debug', '--insecure-listen'],
    ];
    expect(config({ argv })).toMatchObject({
      cluster: 'kube',
      kubeconfig: 'kc',
      listen: { host: '::1', port: 1 },
      ops: { host: 'localhost', port: 2 },
      profile: 'gpushare',
      policy: 'binpack',
      ranking: 'advisory',
      narrow: 0,
      tls: { certFile: 'c', keyFile: 'k', clientCaFile: 'ca', clientNames: ['a', 'b'] },
      leaderElection: false,
      logLevel: 'debug',
      insecureListen: true,
    });
  });

  it('reads weights that are no whole numbers, one by one', () => {
    const files = { f: 'weights:\n  cpuWeight: 0.25\n  stepPods: 1\n' };
    const env = { GPULOOM_CONFIG: 'f', GPULOOM_WEIGHTS_GPU_COUNT_EXPONENT: '1.05', GPULOOM_WEIGHTS_STEP_PODS: '0.5' };
    const weights = { gpuCountExponent: 1.05, cpuWeight: 0.25, stepPods: 0.5 };
    expect(config({ env, files }).weights).toEqual(weights);
    const result = load({ env, files });
    expect(result.kind === 'config' && result.effective).toContain(
      'weights.gpuCountExponent: 1.05  # GPULOOM_WEIGHTS_GPU_COUNT_EXPONENT\nweights.cpuWeight: 0.25  # f:2',
    );
  });

  it('reads a list from the environment and from the file', () => {
    const tls = { GPULOOM_TLS_CERT: 'c', GPULOOM_TLS_KEY: 'k', GPULOOM_CLIENT_CA: 'ca' };
    expect(config({ env: { ...tls, GPULOOM_CLIENT_NAMES: 'a, b' } }).tls?.clientNames).toEqual(['a', 'b']);
    const files = { f: 'clientNames: [c]' };
    expect(config({ argv: ['--config', 'f'], env: tls, files }).tls?.clientNames).toEqual(['c']);
  });
});

describe('errors', () => {
  it('are all reported at once, each with its place and a way out', () => {
    const file = 'polcy: binpack\nlisten: ":80"\nnarrow: [1]\nlimits:\n  podsPerGpu: many\n';
    const found = errors({
      argv: [
        '--config',
        'f.yaml',
        '--plicy',
        'spread',
        '--policy',
        'binpak',
        'stray',
        '--insecure-listen=1',
        '--ranking',
      ],
      env: { GPULOOM_BODY_LIMIT_MIB: '0', GPULOOM_OPS: 'nowhere' },
      files: { 'f.yaml': file },
    });
    expect([...found].sort()).toEqual(
      [
        '--ranking: a value is missing; --help shows its form',
        '--plicy: unknown flag; did you mean --policy?',
        'stray: unexpected argument; every setting is a flag, see --help',
        '--insecure-listen: takes no value',
        'f.yaml:1: unknown key polcy; did you mean policy?',
        '--policy: "binpak" is not one of fragmentation, binpack, spread, topology; did you mean binpack?',
        'f.yaml:3: narrow: [1] is not a whole number of nodes from 0 to 100000',
        'GPULOOM_BODY_LIMIT_MIB: 0 is not a whole number of MiB from 1 to 512',
        'f.yaml:5: limits.podsPerGpu: "many" is not a whole number of pods from 1 to 256',
        'f.yaml:2: listen: ":80" is not HOST:PORT; write 0.0.0.0:80 for all interfaces',
        'GPULOOM_OPS: "nowhere" is not HOST:PORT; for example 127.0.0.1:12345',
      ].sort(),
    );
  });

  it.each<[string, Given, string]>([
    ['a certificate without its key', { argv: ['--tls-cert', 'c'] }, 'add --tls-key'],
    ['a key without its certificate', { argv: ['--tls-key', 'k'] }, 'add --tls-cert'],
    ['a client CA without TLS', { argv: ['--client-ca', 'ca'] }, 'add --tls-cert and --tls-key'],
    ['a client name without a CA', { argv: [...withTls, '--client-name', 'x'] }, 'add --client-ca'],
    ['verbs open to the network', { argv: ['--listen', '0.0.0.0:1'] }, '--insecure-listen'],
    ['both listeners on one port', { argv: ['--ops', '127.0.0.1:12345'] }, 'give --ops another port'],
    ['a wildcard over the other listener', { argv: ['--ops', '0.0.0.0:12345'] }, 'collides'],
    [
      'a kubeconfig for the embedded cluster',
      { argv: ['--cluster', 'embedded', '--kubeconfig', 'k'] },
      '--cluster kube',
    ],
    [
      'leader election in the embedded cluster',
      { argv: ['--cluster', 'embedded'], env: { GPULOOM_LEADER_ELECTION: 'true' } },
      'single replica',
    ],
    [
      'a hold shorter than a bind',
      { env: { GPULOOM_RESERVATION_HOLD_MILLIS: '2000' } },
      'longer than bindTimeoutMillis',
    ],
    ['more batch pods than pods', { env: { GPULOOM_LIMITS_BATCH_PER_GPU: '17' } }, 'limits.podsPerGpu'],
    ['a port out of range', { argv: ['--listen', '127.0.0.1:70000'] }, 'is not HOST:PORT'],
    ['a file that is missing', { argv: ['--config', 'gone.yaml'] }, 'check --config'],
    [
      'a key twice',
      { argv: ['--config', 'f'], files: { f: 'narrow: 1\nnarrow: 2\n' } },
      'f:2: Map keys must be unique',
    ],
    ['broken YAML', { argv: ['--config', 'f'], files: { f: 'limits: {' } }, 'f:'],
    ['a file that is a list', { argv: ['--config', 'f'], files: { f: '- narrow' } }, 'must be a map'],
    ['a group that is a number', { argv: ['--config', 'f'], files: { f: 'limits: 3' } }, 'limits must be a map'],
    [
      'an unknown key in a group',
      { argv: ['--config', 'f'], files: { f: 'limits: { podPerGpu: 3 }' } },
      'limits.podsPerGpu?',
    ],
    ['a prototype key', { argv: ['--config', 'f'], files: { f: '__proto__: { narrow: 3 }' } }, 'unknown key __proto__'],
    ['a number for a word', { argv: ['--config', 'f'], files: { f: 'policy: 7' } }, 'policy: 7 is not one of'],
    [
      'an aliased value',
      { argv: ['--config', 'f'], files: { f: 'kubeconfig: &a x\nclientCa: *a' } },
      'is not the path',
    ],
    ['a weight out of range', { env: { GPULOOM_WEIGHTS_CPU_WEIGHT: '1.01' } }, '1.01 is not a number from 0 to 1'],
    [
      'a weight that is no number',
      { argv: ['--config', 'f'], files: { f: 'weights: { cpuWeight: .nan }' } },
      'weights.cpuWeight: null is not a number from 0 to 1',
    ],
    ['a weight of zero steps', { env: { GPULOOM_WEIGHTS_STEP_PODS: '0' } }, 'is not a number from 0.001 to 1'],
    ['a negative number', { argv: ['--narrow', '-1'] }, '--narrow: -1 is not a whole number'],
    ['a fraction', { argv: ['--narrow', '1.5'] }, '--narrow: "1.5" is not a whole number'],
  ])('name %s', (_what, given, advice) => {
    const found = errors(given);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(advice);
  });
});

describe('warnings', () => {
  it('tell of a variable that looks misspelled, but not of the ones Kubernetes sets for Services', () => {
    const env = {
      GPULOOM_NAROW: '3',
      GPULOOM_EXTENDER_SERVICE_HOST: '10.0.0.1',
      GPULOOM_EXTENDER_SERVICE_PORT_VERBS: '1',
      GPULOOM_EXTENDER_PORT: 'tcp://10.0.0.1:1',
      GPULOOM_EXTENDER_PORT_12345_TCP_ADDR: '10.0.0.1',
    };
    expect(warnings({ env })).toEqual(['GPULOOM_NAROW: unknown variable, ignored; did you mean GPULOOM_NARROW?']);
  });

  it.each<[string, Given, string]>([
    ['verbs open without client certificates', { argv: ['--listen', '0.0.0.0:1', ...withTls] }, 'add --client-ca'],
    ['verbs open without TLS by choice', { argv: ['--listen', '0.0.0.0:1', '--insecure-listen'] }, 'any caller'],
    ['ops open to the network', { argv: ['--ops', '0.0.0.0:1'] }, 'NetworkPolicy'],
    ['a short hold', { env: { GPULOOM_RESERVATION_HOLD_MILLIS: '30000' } }, 'too early'],
    ['a bind longer than kube-scheduler waits', { env: { GPULOOM_BIND_TIMEOUT_MILLIS: '9000' } }, 'httpTimeout'],
  ])('tell of %s', (_what, given, advice) => {
    expect(warnings(given)).toEqual([containing(advice)]);
  });
});

describe('printing', () => {
  it('shows help with every flag and examples, whatever else is wrong', () => {
    const result = load({ argv: ['--listn', 'x', '--help'] });
    expect(result.kind).toBe('help');
    const text = result.kind === 'help' ? result.text : '';
    for (const word of [
      '--config',
      '--narrow <K>',
      '--client-name',
      '--no-leader-election',
      '-h, --help',
      'Examples:',
    ]) {
      expect(text).toContain(word);
    }
    expect(load({ argv: ['--version'] })).toEqual({ kind: 'version', text: '9.9.9' });
  });

  it('shows the effective values as YAML with their origin and without credentials', () => {
    const files = { f: 'narrow: 7\nkubeconfig: https://admin:hunter2@cluster/config\n' };
    const result = load({ argv: ['--config', 'f', '--policy', 'spread'], files });
    const effective = result.kind === 'config' ? result.effective : '';
    expect(effective).toContain('policy: "spread"  # --policy');
    expect(effective).toContain('narrow: 7  # f:1');
    expect(effective).toContain('ranking: "decisive"  # default');
    expect(effective).not.toContain('hunter2');
    expect(parse(effective)).toMatchObject({ policy: 'spread', narrow: 7 });
  });
});

it('no arguments, variables or file make it throw', () => {
  const words = fc.oneof(
    fc.constantFrom(
      '--listen',
      '--config',
      'f',
      '--narrow',
      '--client-name',
      '--no-leader-election',
      '--',
      '-h',
      '-x',
      '=',
    ),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary' }).map((text) => `--${text}`),
  );
  const variables = fc.dictionary(
    fc.constantFrom('GPULOOM_LISTEN', 'GPULOOM_CONFIG', 'GPULOOM_NARROW', 'GPULOOM_X', 'POD_NAMESPACE', 'HOSTNAME'),
    fc.string({ unit: 'binary' }),
  );
  const files = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.constantFrom('a: &a [*a]', '? [x]\n: y', '!!js/function x', '---\n---\n', 'limits: {1: 2}', '%YAML 9'),
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 6 }), variables, files, (argv, env, f) => {
      const result = load({ argv, env, files: { f } });
      if (result.kind === 'errors') expect(result.errors.length).toBeGreaterThan(0);
    }),
    { seed: 20_240_917, numRuns: 300 },
  );
});
