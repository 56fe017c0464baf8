#!/usr/bin/env node
// Entry of the simulator: exit code and nothing else. Everything is loaded after the compile cache is on, which
// halves the start-up of every run but the first.

import { enableCompileCache } from 'node:module';

enableCompileCache();
const { simulate } = await import('./cli.ts');
process.exitCode = await simulate(process.argv.slice(2), process);
