#!/usr/bin/env node
// Entry of the node agent: configuration, inventory source, API server, signals. Nothing is decided here.

import { readFileSync } from 'node:fs';
import { createLogger } from '../extender/logging.ts';
import { packageVersion } from '../extender/version.ts';
import { startAgent, type Agent } from './agent.ts';
import { loadAgentConfig, type AgentConfig } from './config.ts';
import { chooseInventory } from './inventory/choose.ts';
import { inClusterCredentials, kubeconfigCredentials, type KubeCredentials } from './kube/credentials.ts';
import { createRestClient } from './kube/rest.ts';
import { chooseBinding, limiterFor } from './runtime-choice.ts';

const EXIT_USAGE = 2;
const version = packageVersion();
const userAgent = `gpuloom-device-plugin/${version}`;
const loaded = loadAgentConfig({
  argv: process.argv.slice(2),
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  version,
});
if (loaded.kind === 'errors') stop(`${loaded.errors.join('\n')}\nTry --help.\n`, EXIT_USAGE);
if (loaded.kind !== 'config') {
  process.stdout.write(`${loaded.text}\n`);
  process.exit(0);
}

const { config, warnings, effective } = loaded;
if (config.check) {
  // What only a look at the node needs stays out of an agent's memory.
  const [{ runCheck }, { systemProbes }] = await Promise.all([import('./check.ts'), import('./check-probes.ts')]);
  const { text, ok } = await runCheck(config, systemProbes({ credentials: () => credentials(config), userAgent }));
  process.stdout.write(text);
  process.exit(ok ? 0 : 1);
}
const log = createLogger({ level: config.logLevel, component: 'device-plugin' });
for (const warning of warnings) log.warn(warning);
log.info('Starting', { version, config: effective });
try {
  const agent = await start(config);
  log.info('Running', { address: `http://${agent.address.host}:${agent.address.port}` });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info('Shutting down', { signal });
      void agent.stop().then(() => process.exit(0));
    });
  }
} catch (error) {
  stop(`cannot start: ${error instanceof Error ? error.message : String(error)}\n`, 1);
}

async function start(settings: AgentConfig): Promise<Agent> {
  const api = createRestClient(credentials(settings), userAgent);
  const { source, passedOver } = await chooseInventory(settings.inventory);
  for (const why of passedOver) log.info(`inventory source passed over: ${why}`);
  const binding = await chooseBinding(settings, api);
  log.info(`containers are bound by ${binding.kind}: ${binding.why}`);
  return startAgent({
    ...settings,
    ...limiterFor(settings.limiterLibrary),
    binding: binding.kind,
    api,
    source,
    log: {
      info: (message) => log.info(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    },
  });
}

function credentials({ kubeconfig }: AgentConfig): KubeCredentials {
  const found = kubeconfig === undefined ? inClusterCredentials(process.env) : kubeconfigCredentials(kubeconfig);
  if (found === undefined)
    throw new Error('no API server is known: not in a pod with a service account, and no --kubeconfig given');
  return found;
}

function stop(message: string, code: number): never {
  process.stderr.write(message);
  process.exit(code);
}
