#!/usr/bin/env node
// Entry of the extender: configuration, cluster, service, signals. Nothing is decided here.

import { readFileSync } from 'node:fs';
import { loadConfig } from './config.ts';
import { chooseCluster } from './cluster-choice.ts';
import { createLogger } from './logging.ts';
import { startService } from './service.ts';
import { packageVersion } from './version.ts';

const EXIT_USAGE = 2;
const version = packageVersion();
const loaded = loadConfig({
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
const chosen = await chooseCluster(config);
if (chosen.kind === 'none') stop(`${chosen.why}\n`, EXIT_USAGE);

const log = createLogger({ level: config.logLevel, component: 'extender' });
for (const warning of warnings) log.warn(warning);
log.info('Starting', { version, config: effective });
try {
  const service = await startService({ config, cluster: chosen.cluster, target: chosen.target, version, log });
  log.info('Listening', { address: service.verbsUrl, detail: `operator's views at ${service.opsUrl}` });
  endOnSignal(async () => {
    await service.close();
    await chosen.close();
  });
} catch (error) {
  stop(`cannot start: ${error instanceof Error ? error.message : String(error)}\n`, 1);
}

/** The first signal drains and ends; a second one ends at once. */
function endOnSignal(close: () => Promise<void>): void {
  let isEnding = false;
  const end = (signal: NodeJS.Signals): void => {
    if (isEnding) process.exit(1);
    isEnding = true;
    log.info('Shutting down', { signal });
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error('Shutting down failed', { error });
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}

function stop(message: string, code: number): never {
  process.stderr.write(message);
  process.exit(code);
}
