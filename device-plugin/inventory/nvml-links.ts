// How close the GPUs of a node are to each other, asked of NVML once per set of GPUs.
// A GPU that fails here only loses its own links.

import { sysfsBusId } from './gpu-identity.ts';
import { nvlinkWeight, pcieWeight } from './links.ts';
import type { PciePath } from './links.ts';
import type { NvmlCalls, NvmlDevice } from './nvml-calls.ts';
import { NvmlError } from './nvml-codes.ts';
import type { GpuLink } from './source.ts';

export interface LinkedGpu {
  readonly uuid: string;
  readonly device: NvmlDevice;
  readonly pciBusId: string;
}

const MAX_NVLINKS = 36;
const SWITCH = 2;
const LEVELS: ReadonlyMap<number, PciePath> = new Map([
  [0, 'internal'],
  [10, 'PIX'],
  [20, 'PXB'],
  [30, 'PHB'],
  [40, 'NODE'],
  [50, 'SYS'],
]);

/** NVLinks of one GPU: how many lead to each neighbour, and how many to a switch. */
interface NvLinks {
  readonly byPeer: ReadonlyMap<string, number>;
  readonly toSwitch: number;
}

export async function readLinks(calls: NvmlCalls, gpus: readonly LinkedGpu[]): Promise<readonly GpuLink[]> {
  if (gpus.length < 2) return [];
  const nvlinks = new Map<string, NvLinks>();
  for (const gpu of gpus) nvlinks.set(gpu.uuid, await nvlinksOf(calls, gpu.device));
  const links: GpuLink[] = [];
  for (const [at, left] of gpus.entries()) {
    for (const right of gpus.slice(at + 1)) {
      const direct = nvlinksBetween(left, right, nvlinks);
      const weight = direct > 0 ? nvlinkWeight(direct) : await pathWeight(calls, left.device, right.device);
      if (weight !== undefined) links.push({ between: [left.uuid, right.uuid], weight });
    }
  }
  return links;
}

async function nvlinksOf(calls: NvmlCalls, device: NvmlDevice): Promise<NvLinks> {
  const byPeer = new Map<string, number>();
  let toSwitch = 0;
  try {
    for (let link = 0; link < MAX_NVLINKS; link++) {
      const up = await calls.linkUp(device, link);
      if (up === undefined) break;
      if (!up) continue;
      if ((await calls.linkPeerType(device, link)) === SWITCH) toSwitch++;
      else {
        const peer = sysfsBusId((await calls.linkPeer(device, link)) ?? '') ?? '';
        byPeer.set(peer, (byPeer.get(peer) ?? 0) + 1);
      }
    }
  } catch (error) {
    if (!(error instanceof NvmlError)) throw error;
    return { byPeer: new Map(), toSwitch: 0 };
  }
  return { byPeer, toSwitch };
}

/** Direct links as counted from either end, or through the switch as many as the poorer of the two has. */
function nvlinksBetween(left: LinkedGpu, right: LinkedGpu, nvlinks: ReadonlyMap<string, NvLinks>): number {
  const from = nvlinks.get(left.uuid);
  const to = nvlinks.get(right.uuid);
  const direct = from?.byPeer.get(sysfsBusId(right.pciBusId) ?? '-') ?? 0;
  const back = to?.byPeer.get(sysfsBusId(left.pciBusId) ?? '-') ?? 0;
  return Math.max(direct, back, Math.min(from?.toSwitch ?? 0, to?.toSwitch ?? 0));
}

async function pathWeight(calls: NvmlCalls, left: NvmlDevice, right: NvmlDevice): Promise<number | undefined> {
  try {
    const path = LEVELS.get((await calls.commonAncestor(left, right)) ?? -1);
    return path === undefined ? undefined : pcieWeight(path);
  } catch (error) {
    if (error instanceof NvmlError) return undefined;
    throw error;
  }
}
