// What isolation `mps` promises and whether the node can keep it. A CUDA program that cannot reach the MPS control daemon
// runs on without limits and says nothing, so without the daemon no container starts here, whether its pod asked for
// isolation or not: it would also take what its limited neighbours were promised. The inventory then offers isolation
// `none` and no healthy GPU, so that the extender places new pods elsewhere. Running containers are left alone.

import type { Inventory } from '../../extender/core/model.ts';
import type { NodeEvent } from '../../extender/kube/events.ts';
import type { AgentOptions } from '../agent-options.ts';
import type { LimitKeeper, MpsDaemon, MpsReach } from '../ports.ts';
import { mpsDaemon } from './control.ts';
import { DEFAULT_MPS_WATCH, MpsWatch, type MpsWatchOptions } from './watch.ts';

export interface NodeLimits extends LimitKeeper {
  /** What of the inventory may be promised at the moment. */
  offered(inventory: Inventory): Inventory;
  /** Whether the latest look reached the daemon; undefined on a node that has none to reach. */
  isDaemonReached(): boolean | undefined;
  /** Resolves when it is known what may be promised. Bounded. */
  start(): Promise<void>;
  stop(): void;
}

export interface LimitDeps {
  readonly options: Pick<AgentOptions, 'isolation' | 'mpsPipeDirectory' | 'mpsWatch' | 'nodeName' | 'log'>;
  readonly timers: MpsWatchOptions['timers'];
  readonly publishForNode: (event: NodeEvent) => void;
  /** What is offered has changed. */
  readonly onChange: () => void;
}

/** A node without isolation promises nothing, so nothing is lacking. */
const NO_LIMITS: NodeLimits = {
  whyUnenforced: () => Promise.resolve(undefined),
  offered: (inventory) => inventory,
  isDaemonReached: () => undefined,
  start: () => Promise.resolve(),
  stop: () => undefined,
};

export function nodeLimits(deps: LimitDeps): NodeLimits {
  const { isolation, mpsPipeDirectory } = deps.options;
  if (isolation !== 'mps' || mpsPipeDirectory === undefined) return NO_LIMITS;
  return mpsLimits(deps, mpsPipeDirectory, mpsDaemon(mpsPipeDirectory));
}

function mpsLimits(deps: LimitDeps, pipeDirectory: string, daemon: MpsDaemon): NodeLimits {
  const { options, timers } = deps;
  const watch = new MpsWatch({
    daemon,
    policy: options.mpsWatch ?? DEFAULT_MPS_WATCH,
    timers,
    onSettled: (reach, isFirst) => {
      tell(deps, pipeDirectory, reach, isFirst);
      if (!isFirst) deps.onChange();
    },
  });
  return {
    // Looks anew: a container that starts while the daemon is being missed has no limits.
    async whyUnenforced() {
      const reach = await daemon.look();
      if (reach.kind === 'reached') return undefined;
      return `${unreachable(reach.why)}, so limits would not be enforced; ${howToMend(pipeDirectory)}; the container starts when the daemon is back`;
    },
    offered: (inventory) => (watch.isSettledUp ? inventory : closed(inventory)),
    isDaemonReached: () => watch.latest?.kind === 'reached',
    start: () => watch.start(),
    stop: () => watch.stop(),
  };
}

export function howToMend(pipeDirectory: string): string {
  return `start nvidia-cuda-mps-control -d on this node with CUDA_MPS_PIPE_DIRECTORY=${pipeDirectory}, or correct mpsPipeDirectory`;
}

function unreachable(why: string): string {
  return `the MPS control daemon cannot be reached: ${why}`;
}

function closed(inventory: Inventory): Inventory {
  const gpus = inventory.gpus.map((gpu) => ({ ...gpu, health: 'unhealthy' as const }));
  return { ...inventory, isolation: 'none', gpus };
}

/** That the daemon was there all along is no news. */
function tell(
  { options: { nodeName, log }, publishForNode }: LimitDeps,
  pipeDirectory: string,
  reach: MpsReach,
  isFirst: boolean,
): void {
  if (reach.kind === 'unreached') {
    const message = `${unreachable(reach.why)}; no GPU container starts on this node and new pods are kept away; ${howToMend(pipeDirectory)}`;
    log.error(message);
    publishForNode({ nodeName, type: 'Warning', reason: 'MpsDaemonUnreachable', message });
  } else if (!isFirst) {
    const message = `the MPS control daemon in ${pipeDirectory} can be reached again; isolation mps is offered again`;
    log.info(message);
    publishForNode({ nodeName, type: 'Normal', reason: 'MpsDaemonReached', message });
  }
}
