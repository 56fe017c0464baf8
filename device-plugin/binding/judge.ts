// The node's own books: what has really been granted on its GPUs. The last judge before a container starts, whatever the
// scheduler said. Kept by the extender's ledger over this one node, so that the accounting is the same code. Synchronous.

import { Ledger } from '../../extender/core/ledger.ts';
import type { Inventory, NodeRecord } from '../../extender/core/model.ts';
import { ClusterState } from '../../extender/core/state.ts';
import type { ContainerClaim } from './claims.ts';

export type Ruling = { readonly kind: 'granted' } | { readonly kind: 'refused'; readonly why: string };

const NODE = 'this-node';

export class NodeJudge {
  readonly #ledger = new Ledger(new ClusterState());

  /** Takes in the GPUs as they are now. Grants on GPUs that vanished stay on the books. */
  setInventory(inventory: Inventory): void {
    const node: NodeRecord = {
      name: NODE,
      uid: NODE,
      address: '',
      allocatable: { cpuMilli: 0, memoryMiB: 0 },
      gpus: { kind: 'inventory', source: 'gpuloom', inventory },
    };
    this.#ledger.upsertNode(node);
  }

  /** Grants a pod its GPUs unless one of them would go over its capacity. Granting again what it holds is a no-op. */
  grant({ pod, gpus }: Pick<ContainerClaim, 'pod' | 'gpus'>): Ruling {
    if (pod.demand.kind !== 'request') return { kind: 'refused', why: 'the pod asks for no GPU' };
    const { request } = pod.demand;
    const held = this.#ledger.resident(pod.uid);
    if (held !== undefined) {
      const isSame =
        held.gpus.length === gpus.length && held.gpus.every(({ uuid }) => gpus.some((gpu) => gpu.uuid === uuid));
      if (isSame) return { kind: 'granted' };
      const before = held.gpus.map(({ index }) => index).join(', ');
      return { kind: 'refused', why: `the pod was granted GPU ${before} before; its allocation was changed since` };
    }
    const why = this.shortage({ pod, gpus });
    if (why !== undefined) return { kind: 'refused', why };
    this.#ledger.assume(
      pod,
      request,
      NODE,
      gpus.map(({ uuid, index }) => ({ uuid, index })),
      0,
    );
    this.#ledger.confirm(pod.uid, 0);
    return { kind: 'granted' };
  }

  /** Why a pod that holds nothing yet cannot be granted these GPUs; undefined where it can. */
  shortage({ pod, gpus }: Pick<ContainerClaim, 'pod' | 'gpus'>): string | undefined {
    if (pod.demand.kind !== 'request') return 'the pod asks for no GPU';
    const { request } = pod.demand;
    const { state } = this.#ledger;
    const start = state.gpuStart[0] ?? 0;
    for (const gpu of gpus) {
      const position = this.#positionOf(gpu.uuid);
      if (position < 0) return `GPU ${gpu.uuid} is not on the books of this node`;
      const free = state.gpuFree[start + position] ?? 0;
      const core = state.gpuFreeCore[start + position] ?? 0;
      if (free < request.slicesPerGpu || core < request.corePerGpu) {
        const holders = this.#holdersOf(gpu.uuid).join(', ') || 'nobody';
        return `GPU ${gpu.index} has ${free} of ${gpu.slices} slices and ${core} percent of compute left, the pod needs ${request.slicesPerGpu} and ${request.corePerGpu}; it is held by ${holders}`;
      }
    }
    return undefined;
  }

  /** The pod has ended or is gone. */
  release(podUid: string): void {
    this.#ledger.release(podUid);
  }

  isGranted(podUid: string): boolean {
    return this.#ledger.resident(podUid) !== undefined;
  }

  grantedPodUids(): readonly string[] {
    return [...this.#ledger.residents()].map(({ uid }) => uid);
  }

  /** What each pod was granted on each GPU, in slices. */
  grants(): readonly { readonly podUid: string; readonly gpuUuid: string; readonly slices: number }[] {
    return [...this.#ledger.residents()].flatMap(({ uid: podUid, gpus, request }) =>
      gpus.map(({ uuid: gpuUuid }) => ({ podUid, gpuUuid, slices: request?.slicesPerGpu ?? 0 })),
    );
  }

  #positionOf(uuid: string): number {
    const { state } = this.#ledger;
    const start = state.gpuStart[0] ?? 0;
    for (let position = 0; position < (state.gpuCount[0] ?? 0); position++) {
      if (state.gpuUuid[start + position] === uuid) return position;
    }
    return -1;
  }

  #holdersOf(uuid: string): string[] {
    return [...this.#ledger.residents()]
      .filter(({ gpus }) => gpus.some((gpu) => gpu.uuid === uuid))
      .map(({ pod }) => `${pod.namespace}/${pod.name}`)
      .sort();
  }
}
