// A worker thread of `compare`: takes one task after another and answers each. Keeps the lists it read last, because
// tasks of one trace come in a row. Holds no other state between tasks, so results do not depend on who runs what.

import { parentPort } from 'node:worker_threads';

import { runInOrder, type Outcome } from '../run/in-order.ts';
import { readArrivals } from '../trace/arrivals.ts';
import { TraceFault } from '../trace/fault.ts';
import { readNodes, readPods } from '../trace/openb.ts';
import { generatedWorkload, workloadOf as workloadOfFiles } from '../commands/workload-source.ts';
import type { PodList, SimulatedNode, Workload } from '../workload.ts';
import { openbFiles } from './openb-folder.ts';
import type { CompareOrder, CompareReply, CompareResult, CompareTask } from './task.ts';

interface Lists {
  readonly trace: string;
  readonly nodes: readonly SimulatedNode[];
  readonly list: PodList;
}

function serve(port: NonNullable<typeof parentPort>): void {
  let kept: Lists | undefined;
  const workloadOf = async (task: CompareTask): Promise<Workload> => {
    const { openb, files: own, trace, seed } = task;
    if (own !== undefined) return await workloadOfFiles({ ...own, seed, inflate: task.load, scale: task.scale });
    if (openb === undefined) return generatedWorkload(seed, task.scale, task.load);
    const files = openbFiles(openb, trace);
    if (kept?.trace !== trace) {
      kept = { trace, nodes: await readNodes(files.nodes), list: await readPods(files.pods) };
    }
    const { nodes, list } = kept;
    return { trace, nodes, list, ...(await readArrivals(files.arrivals, seed, nodes.length, list.pods.length)) };
  };
  const answer = async (task: CompareTask): Promise<CompareReply> => {
    try {
      const { outcome } = runInOrder(await workloadOf(task), task.policy, task.driver, () => {}, task.weights);
      return { kind: 'result', result: resultOf(outcome, task) };
    } catch (error) {
      if (error instanceof TraceFault) return { kind: 'fault', message: error.message };
      throw error;
    }
  };
  // A failure that is no fault of a file ends the thread, and the pool hears of it.
  port.on('message', (order: CompareOrder) => {
    if (order === 'end') port.close();
    else void answer(order).then((reply) => port.postMessage(reply));
  });
}

function resultOf(outcome: Outcome, { policy, driver, keepsOccupancy }: CompareTask): CompareResult {
  const { trace, seed, gpus, pods, arrivedMilli, allocatedMilli, refused, unseen, refusedBy, decisions } = outcome;
  const { allocationPercent, fragmentationPercent, curve } = outcome;
  const last = curve.at(-1);
  return {
    policy,
    driver: driver.kind,
    trace,
    seed,
    gpus,
    pods,
    arrivedMilli,
    allocatedMilli,
    refused,
    unseen,
    refusedBy,
    decisions,
    allocationPercent,
    fragmentationPercent,
    atLoad: {
      arrivedPercent: last?.arrivedPercent ?? 0,
      allocationPercent: last?.allocationPercent ?? 0,
      fragmentationPercent: last?.fragmentationPercent ?? 0,
    },
    curve,
    ...(keepsOccupancy === true ? { occupancy: outcome.occupancy } : {}),
  };
}

if (parentPort !== null) serve(parentPort);
