// The NVML stand-in as a library file: compiled once per test process, copied for each test, driven by a state file.
// Where there is no C compiler, `missingCompiler` says so and the tests that need it are skipped.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCE = join(import.meta.dirname, 'fake-nvml.c');

/** Why the stand-in cannot be built here, or an empty string. */
export const missingCompiler: string =
  spawnSync('cc', ['--version']).status === 0 ? '' : 'no C compiler: "cc --version" fails; install gcc or clang';

export interface FakeNvml {
  readonly library: string;
  readonly folder: string;
  setState(state: string): void;
  remove(): void;
}

/** Builds the library and hands out copies: a library file of its own is state of its own. */
export class FakeNvmlBuilder {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gpuloom-nvml-'));
  readonly #built = new Map<string, string>();
  #copies = 0;

  create(state: string, driver: 'new' | 'old' = 'new'): FakeNvml {
    const built = this.#built.get(driver) ?? this.#build(driver);
    const folder = join(this.#folder, `copy-${++this.#copies}`);
    execFileSync('mkdir', [folder]);
    const library = join(folder, 'libnvidia-ml.so.1');
    copyFileSync(built, library);
    const setState = (text: string): void => {
      writeFileSync(join(folder, 'state.next'), text);
      renameSync(join(folder, 'state.next'), join(folder, 'state'));
    };
    setState(state);
    return {
      library,
      folder,
      setState,
      remove: () => {
        rmSync(folder, { recursive: true, force: true });
      },
    };
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #build(driver: 'new' | 'old'): string {
    const output = join(this.#folder, `${driver}.so`);
    const flags = driver === 'old' ? ['-DOLD_DRIVER'] : [];
    execFileSync('cc', ['-shared', '-fPIC', '-Wall', ...flags, '-o', output, SOURCE, '-lpthread', '-ldl']);
    this.#built.set(driver, output);
    return output;
  }
}
