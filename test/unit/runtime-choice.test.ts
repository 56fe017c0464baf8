import { describe, expect, it } from 'vitest';
import { bindingFor, limiterFor } from '../../device-plugin/runtime-choice.ts';

describe('the way containers are bound', () => {
  it.each([
    ['containerd://1.7.24~ds1', 'cdi'],
    ['containerd://2.1.0', 'cdi'],
    ['containerd://1.6.20~ds1', 'env'],
    ['cri-o://1.28.1', 'cdi'],
    ['cri-o://1.20.0', 'env'],
    ['docker://20.10.5', 'env'],
    ['', 'env'],
  ])('on %s is %s', (runtime, kind) => {
    expect(bindingFor(runtime).kind).toBe(kind);
  });

  it('mounts and preloads a limiter where one is configured', () => {
    expect(limiterFor(undefined)).toEqual({});
    const { mounts, commonEnv } = limiterFor('/opt/limiter.so');
    expect(mounts?.[0]).toMatchObject({ hostPath: '/opt/limiter.so', containerPath: commonEnv?.['LD_PRELOAD'] });
  });
});
