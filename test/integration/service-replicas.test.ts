// Two whole extenders in front of one embedded API server: one leads and is behind the Service, the other is well and
// stands by, and takes over when the first ends.

import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { loadConfig } from '../../extender/config.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { startService } from '../../extender/service.ts';
import type { Service } from '../../extender/service.ts';
import { at } from '../support/api-connection.ts';
import { recordingLog } from '../support/http-shell.ts';

const ANY_PORT = '127.0.0.1:0';
const NAMESPACE = 'gpuloom-system';
const SERVICE = 'gpuloom-extender';

const server = new EmbeddedApiServer();
const running = new Set<Service>();
let url = '';

beforeAll(async () => {
  url = await server.listen();
});
afterAll(async () => {
  await Promise.all([...running].map((service) => service.close()));
  await server.close();
});

async function start(podIp: string): Promise<Service> {
  const loaded = loadConfig({
    argv: ['--cluster=kube', `--listen=${ANY_PORT}`, `--ops=${ANY_PORT}`, `--publish-endpoint=${SERVICE}`],
    env: { POD_IP: podIp, POD_NAME: `pod-${podIp}`, POD_NAMESPACE: NAMESPACE },
    readFile: () => '',
    version: 'test',
  });
  if (loaded.kind !== 'config') throw new Error(JSON.stringify(loaded));
  const target = { kind: 'loopback', server: url } as const;
  const { log } = recordingLog();
  const service = await startService({ config: loaded.config, cluster: 'kube', target, version: 'test', log });
  running.add(service);
  return service;
}

async function statusOf(service: Service, path: string): Promise<number> {
  return (await fetch(service.opsUrl + path)).status;
}

const endpoint = (): unknown => at(server.cluster.get('endpoints', NAMESPACE, SERVICE), 'subsets.0');
const endpointOf = (service: Service, ip: string): unknown => ({
  addresses: [{ ip }],
  ports: [{ name: 'verbs', port: Number(new URL(service.verbsUrl).port), protocol: 'TCP' }],
});

it('the Service follows the lead, and a standby is well without answering', async () => {
  const first = await start('10.0.0.1');
  await vi.waitFor(() => expect(endpoint()).toEqual(endpointOf(first, '10.0.0.1')), { timeout: 10_000 });
  const second = await start('10.0.0.2');
  await vi.waitFor(() => expect(second.readiness.report()).toMatchObject({ state: 'standby', warm: true }));
  expect(await Promise.all(['/readyz', '/readyz?standby=ok'].map((path) => statusOf(first, path)))).toEqual([200, 200]);
  expect(await Promise.all(['/readyz', '/readyz?standby=ok'].map((path) => statusOf(second, path)))).toEqual([
    503, 200,
  ]);
  running.delete(first);
  await first.close();
  await vi.waitFor(() => expect(endpoint()).toEqual(endpointOf(second, '10.0.0.2')), { timeout: 10_000 });
  expect(await statusOf(second, '/readyz')).toBe(200);
  running.delete(second);
  await second.close();
  expect(endpoint()).toBeUndefined();
});
