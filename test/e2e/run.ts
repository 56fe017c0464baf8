// `npm run e2e`: makes sure that the Kubernetes programs are there, then runs the real-control-plane tests with vitest.
// Where they cannot run it says why in one line and succeeds, unless GPULOOM_E2E_REQUIRED is set (for CI).
// Arguments go on to vitest.

import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { obtainBinaries } from './binaries.ts';

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => interrupt.abort(new Error(`ended by ${name}`)));

function progress(line: string): void {
  process.stderr.write(`e2e: ${line}\n`);
}

async function main(): Promise<number> {
  const found = await obtainBinaries({ progress, signal: interrupt.signal });
  if (found.kind === 'skip') {
    console.log(`e2e skipped: ${found.reason}`);
    console.log('0 passed, 0 failed, 1 skipped');
    return (process.env['GPULOOM_E2E_REQUIRED'] ?? '') === '' ? 0 : 1;
  }
  progress(`Kubernetes programs: ${found.binaries.folder}`);
  return await runVitest(found.binaries.folder);
}

function runVitest(assets: string): Promise<number> {
  const vitest = join(dirname(fileURLToPath(import.meta.resolve('vitest/package.json'))), 'vitest.mjs');
  const config = join(import.meta.dirname, 'vitest.config.ts');
  const root = join(import.meta.dirname, '../..');
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [vitest, 'run', '--config', config, '--root', root, '--configLoader', 'runner', ...process.argv.slice(2)],
      {
        cwd: root,
        stdio: 'inherit',
        env: { ...process.env, KUBEBUILDER_ASSETS: assets },
      },
    );
    interrupt.signal.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

try {
  process.exitCode = await main();
} catch (cause) {
  progress(cause instanceof Error ? cause.message : String(cause));
  process.exitCode = 1;
}
