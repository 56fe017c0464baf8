// Runs tasks on worker threads and gives their results in the order of the tasks, whatever the number of threads.
// Threads without work end by themselves; the first failure ends all of them and is thrown.

import { Worker } from 'node:worker_threads';

import { TraceFault } from '../trace/fault.ts';
import type { CompareOrder, CompareReply, CompareResult, CompareTask } from './task.ts';

export async function runTasks(
  tasks: readonly CompareTask[],
  workers: number,
  finished: (done: number) => void,
): Promise<readonly CompareResult[]> {
  const results: CompareResult[] = [];
  const threads: Worker[] = [];
  let next = 0;
  let done = 0;
  const runThread = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = new Worker(new URL(workerFile(), import.meta.url));
      threads.push(thread);
      let current = -1;
      let isLast = false;
      const give = (): void => {
        current = next++;
        const order: CompareOrder = tasks[current] ?? 'end';
        isLast = order === 'end';
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        thread.postMessage(order);
      };
      thread.on('message', (reply: CompareReply) => {
        if (reply.kind === 'fault') {
          reject(new TraceFault(reply.message));
          return;
        }
        results[current] = reply.result;
        finished(++done);
        give();
      });
      thread.on('error', reject);
      thread.on('exit', (code) => {
        if (isLast && code === 0) resolve();
        else reject(new Error(`a worker thread ended with code ${code} before its work was done`));
      });
      give();
    });
  try {
    await Promise.all(Array.from({ length: Math.min(workers, tasks.length) }, runThread));
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
  return results;
}

/** The same file under the name it has here: `.ts` as written, `.js` once built. */
function workerFile(): string {
  return import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js';
}
