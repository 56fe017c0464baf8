// Kills the agent again and again while pods come, crash and go, and looks into every container that starts meanwhile.

import { expect } from 'vitest';

import { containerStatus, createNodePod, isRunningPod, PRINT_ENVIRONMENT, untilPod } from './containers.ts';
import type { PodOnNode } from './containers.ts';
import { isRefused } from './gpu-node.ts';
import type { GpuNode } from './gpu-node.ts';

export interface ChurnOptions {
  readonly kills: number;
  readonly agentArgs: readonly string[];
  /** Whether a pod may have been refused for this reason, which stands in its status. */
  readonly mayBeRefused: (why: string) => boolean;
}

const LEFT_RUNNING = 6;

/** How far a pod may have come when the agent is killed; where it is refused on the way, it has come far enough. */
const STAGES: readonly ((pod: PodOnNode) => boolean)[] = [
  () => true,
  (pod) => (pod['spec'] as { readonly nodeName?: string }).nodeName !== undefined,
  (pod) => pod.status?.containerStatuses !== undefined || isRefused(pod),
  (pod) => isRunningPod(pod) || isRefused(pod),
];

export async function churn(gpuNode: GpuNode, { kills, agentArgs, mayBeRefused }: ChurnOptions): Promise<void> {
  const { admin } = gpuNode.plane;
  const container = (slices: number) => ({ name: 'c', ...gpuNode.limits(slices) });
  const tally = { exact: 0, refused: 0 };
  const settle = async (name: string): Promise<void> => {
    const { kind, pod } = await gpuNode.outcomeOf(name);
    if (kind === 'running') await gpuNode.expectExact(pod, 'c');
    else {
      const why = JSON.stringify(pod.status);
      expect(mayBeRefused(why), why).toBe(true);
    }
    tally[kind === 'running' ? 'exact' : 'refused']++;
    await gpuNode.discard(name);
  };
  const looping = { ...container(2), script: `${PRINT_ENVIRONMENT}; sleep 1; exit 1` };
  await createNodePod(admin, { name: 'looping', containers: [looping] });
  await gpuNode.run({ name: 'steady', containers: [container(5)] });
  const present: string[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const slices = 1 + (kill % 3);
    if (kill % 5 !== 4) await gpuNode.untilSlices(gpuNode.total);
    await createNodePod(admin, { name: `before-${kill}`, containers: [container(slices)] });
    await untilPod(admin, `before-${kill}`, STAGES[kill % STAGES.length] ?? isRunningPod, 60_000);
    await gpuNode.killAgent();
    // Where the node shows no slices the pod waits for the next agent; else it meets a kubelet without a plugin.
    if (kill % 3 !== 0) await gpuNode.untilSlices(0);
    await createNodePod(admin, { name: `during-${kill}`, containers: [container(slices)] });
    await gpuNode.startAgent(...agentArgs);
    present.push(`before-${kill}`, `during-${kill}`);
    for (const name of present.splice(0, present.length - LEFT_RUNNING)) await settle(name);
  }
  for (const name of present) await settle(name);
  const starts = await gpuNode.expectExactAtEveryStart('looping', 'c');
  const steady = await gpuNode.read('steady');
  await gpuNode.expectExact(steady, 'c');
  expect(containerStatus(steady, 'c')?.restartCount).toBe(0);
  console.log(
    `${kills} kills: ${tally.exact} pods exact, ${tally.refused} refused, crashing container started ${starts} times`,
  );
  expect(tally.exact).toBeGreaterThan(kills / 2);
  expect(starts).toBeGreaterThan(1);
  // The node is as good as before.
  await gpuNode.untilSlices(gpuNode.total);
  await gpuNode.runAsOwner([{ name: 'after-all', containers: [container(3)] }]);
}
