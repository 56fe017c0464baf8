// How close two GPUs are, as one number on a common scale: NVLink above everything, then the path over PCIe.
// Pure. The scale is public: weights go into the node's inventory annotation and steer topology placement.

/** Names as `nvidia-smi topo -m` prints them; NVML calls the same steps topology levels. */
export type PciePath = 'internal' | 'PIX' | 'PXB' | 'PHB' | 'NODE' | 'SYS';

const PCIE_WEIGHTS: Readonly<Record<PciePath, number>> = { internal: 90, PIX: 80, PXB: 60, PHB: 40, NODE: 20, SYS: 10 };
const NVLINK_BASE = 100;
const NVLINK_EACH = 20;
const MAX_WEIGHT = 1000;

/** Weight of a path over PCIe: 10 (another socket) to 90 (one board). */
export function pcieWeight(path: PciePath): number {
  return PCIE_WEIGHTS[path];
}

/** Weight of a number of NVLinks, directly or through a switch: 120 for one, 460 for the 18 of a Hopper GPU. */
export function nvlinkWeight(links: number): number {
  return Math.min(MAX_WEIGHT, NVLINK_BASE + NVLINK_EACH * links);
}
