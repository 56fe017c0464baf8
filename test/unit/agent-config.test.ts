// The agent's configuration as a pure function: its options, their combinations, and the rules it shares with the extender.

import * as fc from 'fast-check';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { loadAgentConfig } from '../../device-plugin/config.ts';
import type { AgentConfig, AgentConfigResult } from '../../device-plugin/config.ts';
import type { ConfigInputs } from '../../extender/config/load.ts';
import { containing } from '../support/http-shell.ts';

interface Given {
  readonly argv?: readonly string[];
  readonly env?: ConfigInputs['env'];
  /** Content of the configuration file. */
  readonly file?: string;
}

function load({ argv = [], env = {}, file }: Given = {}): AgentConfigResult {
  const readFile = (path: string): string => {
    if (path === 'agent.yaml' && file !== undefined) return file;
    throw new Error(`ENOENT: no such file, open '${path}'`);
  };
  const named = file === undefined ? argv : ['--config', 'agent.yaml', ...argv];
  return loadAgentConfig({ argv: named, env: { NODE_NAME: 'gpu-1', ...env }, readFile, version: '9.9.9' });
}

function config(given: Given = {}): AgentConfig {
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

describe('defaults', () => {
  it('are the documented ones', () => {
    expect(config()).toEqual({
      nodeName: 'gpu-1',
      inventory: 'auto',
      kubeletDir: '/var/lib/kubelet/device-plugins',
      podResourcesSocket: '/var/lib/kubelet/pod-resources/kubelet.sock',
      cdiDir: '/var/run/cdi',
      stateDir: '/var/lib/gpuloom',
      binding: 'auto',
      unitMiB: 1024,
      profile: 'gpuloom',
      listen: { host: '127.0.0.1', port: 12347 },
      check: false,
      logLevel: 'info',
      isolation: 'none',
      deviceNodes: 'auto',
      hostPids: 'auto',
      xids: { heed: [], ignore: [] },
      probeIntervalMillis: 5000,
      healthPolicy: {
        cleanProbes: 6,
        leastUnhealthyMillis: 60_000,
        quarantineFailures: 3,
        quarantineWindowMillis: 86_400_000,
        quarantineMillis: 86_400_000,
      },
      containerdConfig: '/etc/containerd/config.toml',
    });
    expect(warnings({})).toEqual([]);
  });

  it('take the name of the node from NODE_NAME unless a person gave one', () => {
    expect(config({ env: { NODE_NAME: 'n' } }).nodeName).toBe('n');
    expect(config({ env: { NODE_NAME: 'n' }, file: 'nodeName: f' }).nodeName).toBe('f');
    expect(config({ env: { NODE_NAME: 'n', GPULOOM_NODE_NAME: 'e' }, file: 'nodeName: f' }).nodeName).toBe('e');
    expect(config({ argv: ['--node-name', 'a'], env: { GPULOOM_NODE_NAME: 'e' } }).nodeName).toBe('a');
  });
});

describe('options', () => {
  it('are read from every documented flag', () => {
    const argv = [
      ...['--node-name', 'n', '--kubeconfig', 'kc', '--inventory', 'file:/etc/gpus.yaml', '--kubelet-dir', '/k'],
      ...['--pod-resources', '/p/s', '--cdi-dir', '/c', '--state-dir', '/s', '--binding', 'env', '--unit-mib', '512'],
      ...['--profile=gpushare', '--listen', '[::1]:1', '--check', '--log-level', 'debug'],
    ];
    expect(config({ argv })).toMatchObject({
      nodeName: 'n',
      kubeconfig: 'kc',
      inventory: 'file:/etc/gpus.yaml',
      kubeletDir: '/k',
      podResourcesSocket: '/p/s',
      cdiDir: '/c',
      stateDir: '/s',
      binding: 'env',
      unitMiB: 512,
      profile: 'gpushare',
      listen: { host: '::1', port: 1 },
      check: true,
      logLevel: 'debug',
    });
  });

  it('without a flag are read from the file', () => {
    const file = `
isolation: mps
mpsPipeDirectory: /run/mps
limiterLibrary: /opt/limiter.so
binding: cdi
deviceNodes: none
xids: { add: [31, 43], remove: [94] }
health: { probeIntervalMillis: 1000, cleanProbes: 2, leastUnhealthyMillis: 0 }
containerdConfig: /etc/containerd/other.toml
`;
    expect(config({ file })).toMatchObject({
      isolation: 'mps',
      mpsPipeDirectory: '/run/mps',
      limiterLibrary: '/opt/limiter.so',
      deviceNodes: 'none',
      xids: { heed: [31, 43], ignore: [94] },
      probeIntervalMillis: 1000,
      healthPolicy: { cleanProbes: 2, leastUnhealthyMillis: 0 },
      containerdConfig: '/etc/containerd/other.toml',
    });
  });

  it.each(['auto', 'cdi', 'env'])('let a limiter library go with binding %s', (binding) => {
    const env = { GPULOOM_LIMITER_LIBRARY: '/l.so', GPULOOM_BINDING: binding };
    expect(config({ env })).toMatchObject({ limiterLibrary: '/l.so', binding });
  });

  it('without a flag are read from the environment, lists of numbers too', () => {
    const env = { GPULOOM_XIDS_REMOVE: '94, 95', GPULOOM_HEALTH_CLEAN_PROBES: '3', GPULOOM_DEVICE_NODES: 'none' };
    expect(config({ env })).toMatchObject({
      xids: { ignore: [94, 95] },
      healthPolicy: { cleanProbes: 3 },
      deviceNodes: 'none',
    });
    expect(errors({ argv: ['--isolation', 'mps'] })).toEqual([containing('--isolation: unknown flag')]);
  });
});

describe('errors', () => {
  it('are all reported at once, each with its place and a way out', () => {
    const found = errors({
      argv: ['--bindng', 'cdi', '--inventory', 'nvidia', '--unit-mib', '1.5', '--kubelet-dir', 'plugins'],
      env: { GPULOOM_XIDS_ADD: '79,off', GPULOOM_LISTEN: 'nowhere' },
      file: 'profile: gpushar\nxids: { ad: [1] }\nhealth:\n  cleanProbes: 0\n',
    });
    expect([...found].sort()).toEqual(
      [
        '--bindng: unknown flag; did you mean --binding?',
        '--inventory: "nvidia" is not auto, nvml, smi or file:PATH',
        '--unit-mib: "1.5" is not a whole number of MiB from 1 to 1048576',
        '--kubelet-dir: "plugins" is not an absolute path',
        'GPULOOM_XIDS_ADD: [79,"off"] is not a list of XIDs, for example [94, 95]',
        'GPULOOM_LISTEN: "nowhere" is not HOST:PORT; for example 127.0.0.1:12347',
        'agent.yaml:1: profile: "gpushar" is not one of gpuloom, gpushare; did you mean gpushare?',
        'agent.yaml:2: unknown key xids.ad; did you mean xids.add?',
        'agent.yaml:4: health.cleanProbes: 0 is not a whole number of probes from 1 to 1000',
      ].sort(),
    );
  });

  it.each<[string, Given, string]>([
    ['a node without a name', { env: { NODE_NAME: '' } }, 'set NODE_NAME from the field spec.nodeName'],
    ['a name that no node can have', { argv: ['--node-name', 'GPU_1'] }, 'is not the name of a Node'],
    ['an inventory file without a path', { argv: ['--inventory', 'file:'] }, 'auto, nvml, smi or file:PATH'],
    ['MPS without its pipe directory', { env: { GPULOOM_ISOLATION: 'mps' } }, 'set mpsPipeDirectory'],
    ['an XID both added and removed', { file: 'xids: { add: [79, 94], remove: [94] }' }, '94 is in xids.remove too'],
    ['an XID that is none', { file: 'xids: { add: [0] }' }, 'is not a list of XIDs'],
    ['a port out of range', { argv: ['--listen', '127.0.0.1:70000'] }, 'is not HOST:PORT'],
    ['a file that is missing', { argv: ['--config', 'gone.yaml'] }, 'check --config'],
  ])('name %s', (_what, given, advice) => {
    expect(errors(given)).toEqual([containing(advice)]);
  });
});

describe('warnings', () => {
  it.each<[string, Given, string]>([
    ['a listener open to the network', { argv: ['--listen', '0.0.0.0:12347'] }, 'NetworkPolicy'],
    ['a pipe directory that nothing uses', { file: 'mpsPipeDirectory: /run/mps' }, 'no effect without isolation: mps'],
    ['a unit that gpushare does not know', { argv: ['--profile', 'gpushare', '--unit-mib', '512'] }, 'GiB (1024)'],
    ['a misspelled variable', { env: { GPULOOM_BINDNG: 'cdi' } }, 'did you mean GPULOOM_BINDING?'],
  ])('tell of %s', (_what, given, advice) => {
    expect(warnings(given)).toEqual([containing(advice)]);
  });
});

describe('printing', () => {
  it('shows help with every flag of its own, whatever else is wrong', () => {
    const result = load({ argv: ['--help', '--wrong'], env: { NODE_NAME: '' } });
    const text = result.kind === 'help' ? result.text : '';
    const flags = ['--node-name', '--kubeconfig', '--inventory', '--kubelet-dir', '--pod-resources', '--cdi-dir'];
    const others = [
      '--state-dir',
      '--binding',
      '--unit-mib',
      '--profile',
      '--listen',
      '--config',
      '--check',
      '--log-level',
      '--version',
    ];
    for (const flag of [...flags, ...others, 'gpuloom-device-plugin', 'Examples:']) expect(text).toContain(flag);
    expect(text).not.toContain('--ops');
    expect(load({ argv: ['--version'] })).toEqual({ kind: 'version', text: '9.9.9' });
  });

  it('shows the effective values as YAML with their origin', () => {
    const result = load({ argv: ['--unit-mib', '256'], file: 'xids: { remove: [94] }' });
    const effective = result.kind === 'config' ? result.effective : '';
    expect(effective).toContain('nodeName: "gpu-1"  # NODE_NAME');
    expect(effective).toContain('unitMiB: 256  # --unit-mib');
    expect(effective).toContain('xids.remove: [94]  # agent.yaml:1');
    expect(effective).toContain('health.cleanProbes: 6  # default');
    expect(parse(effective)).toMatchObject({ unitMiB: 256, binding: 'auto' });
  });
});

it('no arguments, variables or file make it throw', () => {
  const words = fc.oneof(
    fc.constantFrom('--listen', '--inventory', '--unit-mib', '--check', '--', '-h', '='),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary' }).map((text) => `--${text}`),
  );
  const variables = fc.dictionary(
    fc.constantFrom('GPULOOM_LISTEN', 'GPULOOM_XIDS_ADD', 'GPULOOM_UNIT_MIB', 'NODE_NAME'),
    fc.string({ unit: 'binary' }),
  );
  const files = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), fc.constantFrom('xids: {add: [[1]]}', 'xids: 1'));
  fc.assert(
    fc.property(fc.array(words, { maxLength: 5 }), variables, files, (argv, env, file) => {
      const result = load({ argv, env, file });
      if (result.kind === 'errors') expect(result.errors.length).toBeGreaterThan(0);
    }),
    { seed: 20_240_918, numRuns: 150 },
  );
});
