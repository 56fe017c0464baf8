// `replay`: a live cluster's document, and what would be if.

import { DEFAULT_LIMITS } from '../../extender/core/limits.ts';
import type { GpuLimits } from '../../extender/core/limits.ts';
import type { NodeRecord, PolicyName } from '../../extender/core/model.ts';
import { PROFILES, type ProfileName } from '../../extender/core/resources.ts';
import { addedPods } from '../replay/added-pods.ts';
import { naturalMix, openBooks, type BookSettings, type MixSource } from '../replay/books.ts';
import type { LiveCluster } from '../replay/cluster.ts';
import { documentName, readDocument } from '../replay/document.ts';
import { inspectBooks } from '../replay/inspection.ts';
import { changedNodes, type NodeAddition } from '../replay/node-changes.ts';
import { occupancyOf } from '../replay/occupancy.ts';
import { orderName, type Candidate, type Order, type Progress } from '../replay/placing.ts';
import { repack } from '../replay/repack.ts';
import { documentFigures, outcomeOf, placementLines, REPORT_VERSION, type ReplayReport } from '../replay/report.ts';
import { reportText } from '../replay/report-text.ts';
import { asItIs, carryOut, fromEmpty, onTop, type WhatIf } from '../replay/what-if.ts';
import { writeOutput } from './output-file.ts';
import { ProgressLine, type Terminal } from './terminal.ts';
import { chosenWeights, type WeightFlags } from './weight-flags.ts';

export interface ReplayFlags extends Partial<GpuLimits>, WeightFlags {
  readonly snapshot?: string;
  readonly kubectl?: string;
  readonly profile: ProfileName;
  readonly skipOrphans?: true;
  readonly policy?: PolicyName;
  readonly order?: Order;
  readonly addNodes?: readonly NodeAddition[];
  readonly removeNodes?: readonly string[];
  readonly addPods?: readonly string[];
  readonly repack?: true;
  readonly mix?: MixSource;
  readonly placements?: string;
  readonly json?: string;
}

export async function replay(flags: ReplayFlags, terminal: Terminal): Promise<number> {
  const profile = PROFILES[flags.profile];
  const cluster = await readDocument({ ...flags, profile, skipOrphans: flags.skipOrphans === true });
  const settings = settingsOf(flags, cluster);
  const added = addedPods(flags.addPods ?? [], profile);
  const nodes = changedNodes(cluster, flags.addNodes ?? [], flags.removeNodes ?? []);
  const line = new ProgressLine(terminal, 'placing');
  const { report, latest } = answer({ flags, cluster, settings, added, nodes }, (done, total) =>
    line.tell(done, total),
  );
  line.end();
  if (flags.placements !== undefined) writeOutput(flags.placements, placementLines(latest.placed), terminal);
  if (![flags.placements, flags.json].includes('-')) terminal.stdout.write(reportText(documentName(flags), report));
  if (flags.json !== undefined) writeOutput(flags.json, [`${JSON.stringify(report, undefined, 1)}\n`], terminal);
  return 0;
}

function settingsOf(flags: ReplayFlags, cluster: LiveCluster): BookSettings {
  const { policy = 'fragmentation', mix = naturalMix(cluster) } = flags;
  const weights = chosenWeights(flags, [policy]);
  const limits = {
    batchBesideOnline: flags.batchBesideOnline ?? DEFAULT_LIMITS.batchBesideOnline,
    batchShareBesideOnlinePercent: flags.batchShareBesideOnlinePercent ?? DEFAULT_LIMITS.batchShareBesideOnlinePercent,
    batchPerGpu: flags.batchPerGpu ?? DEFAULT_LIMITS.batchPerGpu,
    podsPerGpu: flags.podsPerGpu ?? DEFAULT_LIMITS.podsPerGpu,
  };
  return { policy, mix, limits, ...weights };
}

interface Question {
  readonly flags: ReplayFlags;
  readonly cluster: LiveCluster;
  readonly settings: BookSettings;
  readonly added: readonly Candidate[];
  readonly nodes: readonly NodeRecord[];
}

/** `latest`: the placing that `--placements` writes, the most that was asked for. */
function answer(
  { flags, cluster, settings, added, nodes }: Question,
  progress: Progress,
): { readonly report: ReplayReport; readonly latest: WhatIf } {
  const engine = openBooks(cluster, cluster.nodes, cluster.residents, settings);
  const today = asItIs(cluster, settings, progress);
  const isChanged = [flags.addNodes, flags.removeNodes, flags.addPods].some((each) => each !== undefined);
  const changed = isChanged ? carryOut(cluster, onTop(cluster, nodes, added), settings, progress) : undefined;
  const order: Order = flags.order ?? { kind: 'creation' };
  const isAnew = flags.policy !== undefined || flags.order !== undefined;
  const anew = isAnew ? carryOut(cluster, fromEmpty(cluster, nodes, added, order), settings, progress) : undefined;
  const report: ReplayReport = {
    version: REPORT_VERSION,
    document: documentFigures(cluster),
    settings: { ...settings, order: orderName(order), typicalRequests: engine.mix.length },
    findings: [...cluster.findings, ...inspectBooks(cluster, engine)],
    today: { occupancy: occupancyOf(engine), waiting: today.groups.find(({ group }) => group === 'waiting') },
    ...(changed !== undefined && { changed: outcomeOf(changed) }),
    ...(anew !== undefined && { anew: outcomeOf(anew) }),
    ...(flags.repack === true && { repack: repack(cluster, settings, today, progress) }),
  };
  return { report, latest: anew ?? changed ?? today };
}
