// Adds up the result files of the test runs in a folder and prints one closing line.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder] = process.argv.slice(2);
const totals = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0 };
for (const file of readdirSync(folder)) {
  const results = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  for (const key of Object.keys(totals)) totals[key] += results[key];
}
console.log(`${totals.numPassedTests} passed, ${totals.numFailedTests} failed, ${totals.numPendingTests} skipped`);
