// A control plane with gpuloom installed as shipped: roles, fake GPU nodes, a recording of all pods, and the scheduler
// configuration. Also what every run must end in: all that can be bound is bound, nothing was ever over its limits, and
// the extender's books equal the API server's. The test starts the extender itself.

import { expect, onTestFailed } from 'vitest';

import { PROFILES } from '../../extender/core/resources.ts';
import type { Profile, ProfileName } from '../../extender/core/resources.ts';
import type { NodeSketch } from '../support/builders.ts';
import type { ClusterUser } from './accounts.ts';
import { requireBinaries } from './binaries.ts';
import { bookDifferences, fittingPods, ledgerFromApi } from './books.ts';
import type { LivePod } from './cluster.ts';
import { createNodes } from './cluster.ts';
import { startControlPlane } from './control-plane.ts';
import type { ControlPlane, RunningProgram } from './control-plane.ts';
import { ExtenderProcess } from './extender-process.ts';
import { GPULOOM_DIALECT, GPUSHARE_DIALECT, replayViolations } from './gpu-replay.ts';
import { EXTENDER_USER, installRoles, schedulerConfigFile } from './installation.ts';
import { eventually } from './process.ts';
import { WatchHistory } from './watch-history.ts';
import { asFakeNode, asGpushareNode } from './workload.ts';

export interface GpuClusterOptions {
  readonly nodes: readonly NodeSketch[];
  readonly profile?: ProfileName;
  /** Beside the extender's service account. */
  readonly users?: readonly ClusterUser[];
}

export interface SchedulerChoice {
  readonly extenderOrigin: string;
  readonly configFile?: string;
}

const SETTLE_MILLIS = 150_000;
const SCHEDULER_QPS = 1_000;

export class GpuCluster {
  readonly plane: ControlPlane;
  readonly nodes: readonly NodeSketch[];
  readonly history: WatchHistory;
  readonly #profile: ProfileName;

  private constructor(plane: ControlPlane, history: WatchHistory, nodes: readonly NodeSketch[], profile: ProfileName) {
    this.plane = plane;
    this.history = history;
    this.nodes = nodes;
    this.#profile = profile;
  }

  static async start({ nodes, profile = 'gpuloom', users = [] }: GpuClusterOptions): Promise<GpuCluster> {
    const plane = await startControlPlane({
      binaries: await requireBinaries(),
      auditLog: true,
      users: [EXTENDER_USER, ...users],
    });
    try {
      await installRoles(plane, profile);
      await createNodes(plane.admin, nodes.map(profile === 'gpuloom' ? asFakeNode : asGpushareNode));
      return new GpuCluster(plane, await WatchHistory.start(plane.admin), nodes, profile);
    } catch (cause) {
      await plane.stop();
      throw cause;
    }
  }

  /** An extender with the rights that its service account has by the shipped roles. */
  startExtender(name: string, args: readonly string[], user = EXTENDER_USER.name): Promise<ExtenderProcess> {
    return ExtenderProcess.start(this.plane, { name, kubeconfig: this.plane.kubeconfig(user), args });
  }

  startScheduler({ extenderOrigin, configFile }: SchedulerChoice): Promise<RunningProgram> {
    const file = configFile ?? schedulerConfigFile(this.plane, this.#profile);
    return this.plane.startScheduler({ name: 'kube-scheduler', configFile: file, extenderOrigin, qps: SCHEDULER_QPS });
  }

  /** Waits until no waiting pod would fit on any node, by an engine of the test's own over the API server's objects. */
  async untilSettled(): Promise<void> {
    const profile = PROFILES[this.#profile];
    let waiting: readonly string[] = [];
    const isSettled = async (): Promise<boolean> => {
      const ledger = await ledgerFromApi(this.plane.admin, profile);
      const { items } = await this.plane.admin.list<LivePod>('/api/v1/pods');
      waiting = fittingPods(ledger, items, profile);
      return waiting.length === 0;
    };
    if (await eventually(isSettled, SETTLE_MILLIS)) return;
    throw new Error(`${waiting.length} pods fit but were not bound, such as ${waiting.slice(0, 5).join(', ')}`);
  }

  /** After the end of the recording: safe at every moment of it, and the extender's books are the API server's. */
  async expectSound(extender: ExtenderProcess): Promise<void> {
    const dialect = this.#profile === 'gpuloom' ? GPULOOM_DIALECT : GPUSHARE_DIALECT;
    expect(replayViolations(this.history.sightings, this.nodes, dialect)).toEqual([]);
    await expectSameBooks(this.plane, extender, PROFILES[this.#profile]);
    expect(await extender.metric('gpuloom_ledger_drift')).toEqual(new Map([['', 0]]));
  }

  /** By the API server's own log: so many pods were bound by the extender, each by one successful Binding. */
  async expectOneBindingPerPod(pods: number): Promise<void> {
    const names = await this.successfulBindings();
    expect(names).toHaveLength(pods);
    expect(new Set(names).size).toBe(pods);
  }

  /** Pods in the order in which the extender bound them; nobody else did. */
  async successfulBindings(): Promise<readonly string[]> {
    const writes = await this.plane.auditedWrites();
    const bound = writes.filter(({ resource, status }) => resource === 'pods/binding' && status === 201);
    expect(bound.filter(({ user }) => user !== EXTENDER_USER.name)).toEqual([]);
    return bound.map(({ name }) => name);
  }

  /** Call it in `beforeEach`. */
  reportLogsOnFailure(): void {
    onTestFailed(async () => {
      console.error(await this.plane.logTails());
    });
  }

  stop(): Promise<void> {
    return this.plane.stop();
  }
}

/** Waits for the extender's watch to show it the last writes; then its ledger must be the API server's. */
async function expectSameBooks({ admin }: ControlPlane, extender: ExtenderProcess, profile: Profile): Promise<void> {
  let differences: readonly string[] = [];
  await eventually(async () => {
    differences = bookDifferences(await extender.snapshot(), await ledgerFromApi(admin, profile));
    return differences.length === 0;
  }, 10_000);
  expect(differences).toEqual([]);
}
