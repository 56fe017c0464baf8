import { describe, expect, it } from 'vitest';
import { limiterFor } from '../../device-plugin/runtime-choice.ts';

describe('a limiter library', () => {
  it('is mounted and preloaded where one is configured', () => {
    expect(limiterFor(undefined)).toEqual({});
    const { mounts, commonEnv } = limiterFor('/opt/limiter.so');
    expect(mounts?.[0]).toMatchObject({ hostPath: '/opt/limiter.so', containerPath: commonEnv?.['LD_PRELOAD'] });
  });
});
