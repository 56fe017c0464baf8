// A whole application over the model of the API server, on a clock that the test moves.

import { createApplication, type Application, type ApplicationOptions } from '../../extender/app/application.ts';
import type { BindEnd } from '../../extender/app/bind.ts';
import type { PodEvent } from '../../extender/app/ports.ts';
import { podRecord } from '../../extender/core/records.ts';
import { PROFILES, type Profile } from '../../extender/core/resources.ts';
import { ApiModel } from './api-model.ts';
import { node, podManifest, type NodeSketch, type PodSketch } from './builders.ts';

export class TestCluster {
  readonly api: ApiModel;
  readonly app: Application;
  readonly profile: Profile;
  readonly ends: BindEnd[] = [];
  readonly events: PodEvent[] = [];
  readonly rejections = new Map<string, number>();
  nowMillis = 1000;
  refusal: string | undefined;

  constructor(nodes: readonly NodeSketch[], options: Partial<ApplicationOptions> = {}, api = new ApiModel()) {
    this.api = api;
    this.profile = options.profile ?? PROFILES.gpuloom;
    this.app = createApplication(
      {
        shapes: new Map(),
        profile: this.profile,
        ranking: 'decisive',
        narrow: 32,
        bindTimeoutMillis: 3000,
        reservationHoldMillis: 90_000,
        ...options,
      },
      {
        binder: this.api,
        podReader: this.api,
        events: { publish: (event) => this.events.push(event) },
        clock: { wallMillis: () => 1_700_000_000_000 + this.nowMillis, monotonicMillis: () => this.nowMillis },
        metrics: {
          countBind: (end) => this.ends.push(end),
          countRejection: (reason, nodes) => this.rejections.set(reason, (this.rejections.get(reason) ?? 0) + nodes),
          countTampered: () => undefined,
        },
        refusal: () => this.refusal,
      },
    );
    this.app.feeds.nodes.replace(nodes.map(node));
  }

  /** Creates a pod at the API server; the watch shows it unless told otherwise. */
  create(sketch: PodSketch, { seen = true }: { readonly seen?: boolean } = {}): void {
    const manifest = podManifest(sketch, this.profile);
    this.api.put(manifest);
    if (seen) this.show(manifest.metadata?.namespace ?? '', sketch.name);
  }

  /** Delivers the present state of a pod by the watch. */
  show(namespace: string, name: string): void {
    const manifest = this.api.pod(namespace, name);
    const record = manifest === undefined ? undefined : podRecord(manifest, this.profile);
    if (record !== undefined) this.app.feeds.pods.upsert(record);
  }

  /** Deletes a pod and delivers the deletion. */
  delete(namespace: string, name: string): void {
    const manifest = this.api.pod(namespace, name);
    this.api.remove(namespace, name);
    const record = manifest === undefined ? undefined : podRecord(manifest, this.profile);
    if (record !== undefined) this.app.feeds.pods.remove(record);
  }

  async bind(name: string, nodeName: string, uid = `uid-default-${name}`): Promise<string> {
    const answer = await this.app.bind({ PodName: name, PodNamespace: 'default', PodUID: uid, Node: nodeName });
    return answer.Error;
  }

  /** Free slices of a node's GPUs, in order. */
  free(nodeName: string): number[] {
    const { state } = this.app.engine.ledger;
    const index = state.indexOf(nodeName) ?? -1;
    const start = state.gpuStart[index] ?? 0;
    return [...state.gpuFree.subarray(start, start + (state.gpuCount[index] ?? 0))];
  }
}
