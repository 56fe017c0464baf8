import { join } from 'node:path';

import { defineConfig } from 'vitest/config';

const results = process.env['GPULOOM_TEST_RESULTS'];

// oxlint-disable-next-line import/no-default-export -- vitest reads the default export.
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.e2e.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    // One control plane at a time; processes, because the children end with the thread that started them.
    pool: 'forks',
    fileParallelism: false,
    reporters: results === undefined ? ['default'] : ['default', 'json'],
    ...(results === undefined ? {} : { outputFile: { json: join(results, 'e2e.json') } }),
  },
});
