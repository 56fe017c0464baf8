// How the shipped image and DaemonSet start the agent, read out of their files.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, listAt } from './api-connection.ts';
import { DEPLOY, documentIn } from './deploy-files.ts';

export interface ShippedStart {
  /** Of Node itself. */
  readonly flags: readonly string[];
  /** From the root of the repository, once built. */
  readonly script: string;
  /** What the image and the DaemonSet set to a value of their own. */
  readonly env: Readonly<Record<string, string>>;
}

const CONTAINER = 'spec.template.spec.containers.0';

export function shippedStart(): ShippedStart {
  const image = readFileSync(join(DEPLOY, 'docker/device-plugin.Dockerfile'), 'utf8').replaceAll('\\\n', ' ');
  const entry = /^ENTRYPOINT (\[.*\])$/m.exec(image)?.[1];
  const words: unknown = JSON.parse(entry ?? 'null');
  if (!Array.isArray(words) || words[0] !== 'node') throw new Error('the agent image has no ENTRYPOINT that runs node');
  const [, ...rest] = words.map(String);
  const script = rest.pop() ?? '';
  const ofImage = [...image.matchAll(/^ENV (\w+)=(\S+)$/gm)].map(([, name = '', value = '']) => [name, value] as const);
  const ofDaemonSet = listAt(documentIn('kustomize/agent/daemonset.yaml'), `${CONTAINER}.env`).flatMap((entry) => {
    const value = at(entry, 'value');
    return typeof value === 'string' ? [[String(at(entry, 'name')), value] as const] : [];
  });
  return { flags: rest, script, env: Object.fromEntries([...ofImage, ...ofDaemonSet]) };
}
