// How this node's container runtime lets containers be given GPUs.

import { apiPath, isRecord, messageOf, stringAt, type KubeApi } from '../extender/kube/kube-api.ts';
import type { CdiMount } from './binding/cdi-spec.ts';

export interface BindingChoice {
  readonly kind: 'cdi' | 'env';
  readonly why: string;
}

const TIMEOUT_MILLIS = 10_000;
const LIMITER_PATH = '/usr/local/gpuloom/limiter.so';

/** What was asked for, else CDI where the runtime named in the node status is known to do it. */
export async function chooseBinding(
  asked: 'auto' | 'cdi' | 'env',
  api: KubeApi,
  nodeName: string,
): Promise<BindingChoice> {
  if (asked !== 'auto') return { kind: asked, why: 'as configured' };
  let runtime: string | undefined;
  try {
    const answer = await api.request('GET', apiPath('v1', 'nodes', nodeName), { timeoutMillis: TIMEOUT_MILLIS });
    runtime = isRecord(answer.body)
      ? stringAt(answer.body, 'status', 'nodeInfo', 'containerRuntimeVersion')
      : undefined;
  } catch (error) {
    return { kind: 'env', why: `the runtime is not known (${messageOf(error)})` };
  }
  return bindingFor(runtime ?? '');
}

/** containerd has CDI from 1.7 on (1.7 itself with `enable_cdi = true`), CRI-O from 1.23 on. */
export function bindingFor(runtime: string): BindingChoice {
  const [, name = '', major = '0', minor = '0'] = /^(containerd|cri-o):\/\/v?(\d+)\.(\d+)/.exec(runtime) ?? [];
  const isNewEnough =
    name === 'containerd' ? isAtLeast(major, minor, 1, 7) : name === 'cri-o' && isAtLeast(major, minor, 1, 23);
  return isNewEnough
    ? { kind: 'cdi', why: `${runtime} has CDI; containerd 1.7 needs enable_cdi = true` }
    : { kind: 'env', why: `${runtime === '' ? 'a runtime of unknown version' : runtime} is not known to have CDI` };
}

/** A limiter library is mounted into every container and preloaded there. */
export function limiterFor(library: string | undefined): {
  readonly mounts?: readonly CdiMount[];
  readonly commonEnv?: Readonly<Record<string, string>>;
} {
  if (library === undefined) return {};
  return {
    mounts: [{ hostPath: library, containerPath: LIMITER_PATH, options: ['ro', 'nosuid', 'nodev', 'bind'] }],
    commonEnv: { LD_PRELOAD: LIMITER_PATH },
  };
}

function isAtLeast(major: string, minor: string, leastMajor: number, leastMinor: number): boolean {
  return Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor);
}
