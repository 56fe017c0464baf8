// How this node's container runtime lets containers be given GPUs.

import { apiPath, isRecord, KubeUnreachable, stringAt, type KubeApi } from '../extender/kube/kube-api.ts';
import type { CdiMount } from './binding/cdi-spec.ts';
import { cdiSupport } from './cdi-support.ts';
import { probeText } from './check-probes.ts';
import type { AgentConfig } from './config.ts';

export interface BindingChoice {
  readonly kind: 'cdi' | 'env';
  readonly why: string;
}

const TIMEOUT_MILLIS = 10_000;
const LIMITER_PATH = '/usr/local/gpuloom/limiter.so';

/** What was asked for, else CDI where the runtime is known to do it. In doubt it is the environment. */
export async function chooseBinding(config: AgentConfig, api: KubeApi): Promise<BindingChoice> {
  if (config.binding !== 'auto') return { kind: config.binding, why: 'as configured' };
  const support = cdiSupport({
    version: await runtimeVersion(api, config.nodeName),
    configPath: config.containerdConfig,
    config: await probeText(config.containerdConfig),
    cdiDir: config.cdiDir,
  });
  return { kind: support.kind === 'yes' ? 'cdi' : 'env', why: support.why };
}

async function runtimeVersion(api: KubeApi, nodeName: string): Promise<string | undefined> {
  try {
    const answer = await api.request('GET', apiPath('v1', 'nodes', nodeName), { timeoutMillis: TIMEOUT_MILLIS });
    return isRecord(answer.body) ? stringAt(answer.body, 'status', 'nodeInfo', 'containerRuntimeVersion') : undefined;
  } catch (error) {
    // Unreachable is unknown; the API server is waited for elsewhere.
    if (error instanceof KubeUnreachable) return undefined;
    throw error;
  }
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
