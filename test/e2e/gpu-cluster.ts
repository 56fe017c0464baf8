// A control plane with gpuloom installed as shipped: roles, fake GPU nodes, a recording of all pods, and the scheduler
// configuration. Also what every run must end in: all that can be bound is bound, nothing was ever over its limits, and
// the extender's books equal the API server's. The test starts the extender itself.

import { expect, onTestFailed } from 'vitest';

import { PROFILES } from '../../extender/core/resources.ts';
import type { ProfileName } from '../../extender/core/resources.ts';
import type { NodeSketch } from '../support/builders.ts';
import type { ClusterUser } from './accounts.ts';
import { requireBinaries } from './binaries.ts';
import { bookDifferences, fittingPods, ledgerFromApi } from './books.ts';
import type { LivePod } from './cluster.ts';
import { createNodes } from './cluster.ts';
import { startControlPlane } from './control-plane.ts';
import type { ControlPlane, RunningProgram } from './control-plane.ts';
import { ExtenderProcess } from './extender-process.ts';
import { replayViolations } from './gpu-replay.ts';
import { EXTENDER_USER, installRoles, schedulerConfigFile } from './installation.ts';
import { eventually } from './process.ts';
import { WatchHistory } from './watch-history.ts';
import { asFakeNode } from './workload.ts';

export interface GpuClusterOptions {
  readonly nodes: readonly NodeSketch[];
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

  private constructor(plane: ControlPlane, nodes: readonly NodeSketch[], history: WatchHistory) {
    this.plane = plane;
    this.nodes = nodes;
    this.history = history;
  }

  static async start({ nodes, users = [] }: GpuClusterOptions): Promise<GpuCluster> {
    const plane = await startControlPlane({
      binaries: await requireBinaries(),
      auditLog: true,
      users: [EXTENDER_USER, ...users],
    });
    try {
      await installRoles(plane);
      await createNodes(plane.admin, nodes.map(asFakeNode));
      return new GpuCluster(plane, nodes, await WatchHistory.start(plane.admin));
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
    const file = configFile ?? schedulerConfigFile(this.plane);
    return this.plane.startScheduler({ name: 'kube-scheduler', configFile: file, extenderOrigin, qps: SCHEDULER_QPS });
  }

  /** Waits until no waiting pod would fit on any node, by an engine of the test's own over the API server's objects. */
  async untilSettled(profile: ProfileName = 'gpuloom'): Promise<void> {
    let waiting: readonly string[] = [];
    const isSettled = async (): Promise<boolean> => {
      const ledger = await ledgerFromApi(this.plane.admin, PROFILES[profile]);
      const { items } = await this.plane.admin.list<LivePod>('/api/v1/pods');
      waiting = fittingPods(ledger, items, PROFILES[profile]);
      return waiting.length === 0;
    };
    if (await eventually(isSettled, SETTLE_MILLIS)) return;
    throw new Error(`${waiting.length} pods fit but were not bound, such as ${waiting.slice(0, 5).join(', ')}`);
  }

  /** After the end of the recording: safe at every moment of it, and the extender's books are the API server's. */
  async expectSound(extender: ExtenderProcess): Promise<void> {
    expect(replayViolations(this.history.sightings, this.nodes)).toEqual([]);
    await expectSameBooks(this.plane, extender);
    expect(await extender.metric('gpuloom_ledger_drift')).toEqual(new Map([['', 0]]));
  }

  /** By the API server's own log: so many pods were bound by the extender, each by one successful Binding. */
  async expectOneBindingPerPod(pods: number): Promise<void> {
    const writes = await this.plane.auditedWrites();
    const bound = writes.filter(({ resource, status }) => resource === 'pods/binding' && status === 201);
    expect(bound.filter(({ user }) => user !== EXTENDER_USER.name)).toEqual([]);
    expect(bound).toHaveLength(pods);
    expect(new Set(bound.map(({ name }) => name)).size).toBe(pods);
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
async function expectSameBooks({ admin }: ControlPlane, extender: ExtenderProcess): Promise<void> {
  let differences: readonly string[] = [];
  await eventually(async () => {
    differences = bookDifferences(await extender.snapshot(), await ledgerFromApi(admin));
    return differences.length === 0;
  }, 10_000);
  expect(differences).toEqual([]);
}
