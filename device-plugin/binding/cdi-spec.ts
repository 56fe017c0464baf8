// The CDI spec of one container's GPUs (container-device-interface, version 0.5.0). Pure: text in, text out.

import { createHash } from 'node:crypto';
import type { Environment } from './container-env.ts';
import { keyOf } from './owner.ts';

export const CDI_KIND = 'gpuloom.io/gpu';
const CDI_VERSION = '0.5.0';
const POD_UID = 'GPULOOM_POD_UID';

export interface CdiMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly options: readonly string[];
}

export interface CdiEdits {
  readonly env: Environment;
  readonly deviceNodes: readonly string[];
  readonly mounts: readonly CdiMount[];
}

/** The name under which the runtime looks the device up; a pure function of the set of slice ids. */
export function deviceKey(ids: readonly string[]): string {
  return createHash('sha256').update(keyOf(ids)).digest('hex').slice(0, 32);
}

/** The pod annotation that makes the runtime ask for the device: what Allocate answers. */
export function cdiAnnotation(key: string): Readonly<Record<string, string>> {
  return { [`cdi.k8s.io/gpuloom_${key}`]: `${CDI_KIND}=${key}` };
}

/** The spec file for a device. The pod's UID is in it, so that files of gone pods can be told. */
export function cdiSpec(key: string, podUid: string, { env, deviceNodes, mounts }: CdiEdits): string {
  const variables = Object.entries({ ...env, [POD_UID]: podUid }).map(([name, value]) => `${name}=${value}`);
  return JSON.stringify(
    {
      cdiVersion: CDI_VERSION,
      kind: CDI_KIND,
      devices: [
        {
          name: key,
          containerEdits: {
            env: variables,
            ...(deviceNodes.length > 0 ? { deviceNodes: deviceNodes.map((path) => ({ path })) } : {}),
            ...(mounts.length > 0 ? { mounts } : {}),
          },
        },
      ],
    },
    undefined,
    2,
  );
}

/** The pod a spec was written for; undefined for a file that is not ours or is damaged. */
export function specPodUid(text: string): string | undefined {
  const match = /"GPULOOM_POD_UID=([A-Za-z0-9.-]{1,128})"/.exec(text);
  return match?.[1];
}

/** The UUIDs of the GPUs that a spec gives; none for a file that is not ours or is damaged. */
export function specGpus(text: string): readonly string[] {
  const match = /"NVIDIA_VISIBLE_DEVICES=([^"\\]{1,4096})"/.exec(text);
  return match?.[1]?.split(',') ?? [];
}
