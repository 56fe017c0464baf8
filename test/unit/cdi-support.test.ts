// What versions and configurations of container runtimes say about CDI.

import { describe, expect, it } from 'vitest';
import { cdiSupport } from '../../device-plugin/cdi-support.ts';
import type { CdiSupport, FileText } from '../../device-plugin/cdi-support.ts';

const MISSING: FileText = { kind: 'missing' };
const CRI = '[plugins."io.containerd.grpc.v1.cri"]';

function text(...lines: readonly string[]): FileText {
  return { kind: 'text', text: lines.join('\n') };
}

function support(version: string | undefined, config: FileText = MISSING, cdiDir = '/var/run/cdi'): CdiSupport {
  return cdiSupport({ version, config, configPath: '/etc/containerd/config.toml', cdiDir });
}

describe('CDI support', () => {
  it.each<[CdiSupport['kind'], string | undefined, FileText]>([
    ['no', 'containerd://1.6.20~ds1', text(CRI, 'enable_cdi = true')],
    ['unknown', 'containerd://1.7.24', MISSING],
    ['unknown', 'containerd://1.7.24', { kind: 'unreadable', why: 'it may not be read (EACCES)' }],
    ['no', 'containerd://1.7.24', text('version = 2', CRI, '  sandbox_image = "pause"')],
    ['no', 'containerd://1.7.24', text(CRI, '  enable_cdi = false')],
    ['no', 'containerd://1.7.24', text(CRI, '  # enable_cdi = true')],
    [
      'yes',
      'containerd://1.7.24',
      text(CRI, '  enable_cdi = true  # for GPUs', '  cdi_spec_dirs = ["/etc/cdi", "/run/cdi"]'),
    ],
    ['unknown', 'containerd://1.7.24', text('imports = ["/etc/containerd/conf.d/*.toml"]', 'version = 2')],
    ['no', 'containerd://1.7.24', text('imports = []', 'version = 2')],
    ['yes', 'containerd://v2.0.1', MISSING],
    [
      'yes',
      'containerd://2.1.0',
      text("[plugins.'io.containerd.cri.v1.runtime']", "  cdi_spec_dirs = ['/var/run/cdi/']"),
    ],
    ['no', 'containerd://2.1.0', text("[plugins.'io.containerd.cri.v1.runtime']", '  enable_cdi = false')],
    ['yes', 'cri-o://1.30.2', MISSING],
    ['no', 'cri-o://1.22.0', MISSING],
    ['no', 'docker://20.10.5', MISSING],
    ['unknown', undefined, MISSING],
    ['unknown', 'nonsense', text('version = 2')],
    ['yes', undefined, text(CRI, 'enable_cdi = true')],
  ])('is %s for %s with %j', (kind, version, config) => {
    expect(support(version, config).kind).toBe(kind);
  });

  it('is no use where the runtime looks for specs elsewhere, and the answer says what to change', () => {
    const config = text(CRI, 'enable_cdi = true', 'cdi_spec_dirs = [', '  "/etc/cdi",', ']');
    expect(support('containerd://1.7.24', config)).toMatchObject({ kind: 'no' });
    expect(support('containerd://1.7.24', config).why).toContain(
      'in /etc/cdi and not in /var/run/cdi; change --cdi-dir',
    );
    expect(support('containerd://2.0.0', MISSING, '/opt/cdi').kind).toBe('no');
    expect(support('containerd://2.0.0', MISSING, '/run/cdi').kind).toBe('yes');
  });

  it('tells how to switch it on where it is off', () => {
    expect(support('containerd://1.7.2', text(CRI)).why).toContain('set enable_cdi = true in the CRI section');
  });
});
