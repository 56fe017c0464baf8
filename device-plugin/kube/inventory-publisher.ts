// Writes this node's inventory annotation, on change only, and goes on trying until it has landed. Also the number of GPUs
// in the node status where gpushare's readers expect it. One write at a time; only the latest inventory matters.

import { encodeInventory } from '../../extender/core/inventory-codec.ts';
import type { Inventory } from '../../extender/core/model.ts';
import { GPUSHARE_NODE_RESOURCES, INVENTORY_ANNOTATION, type ProfileName } from '../../extender/core/resources.ts';
import { backoffMillis, type Delays } from '../../extender/kube/delays.ts';
import { apiPath, describeAnswer, isRecord, messageOf, type KubeApi } from '../../extender/kube/kube-api.ts';

export interface PublisherOptions {
  readonly api: KubeApi;
  readonly delays: Delays;
  readonly nodeName: string;
  readonly profile: ProfileName;
  readonly report: (message: string) => void;
}

export interface InventoryPublisher {
  /** From now on this is what the node should say. */
  publish(inventory: Inventory): void;
  /** Whether the latest inventory has landed. */
  isPublished(): boolean;
  stop(): void;
}

const MERGE_PATCH = 'application/merge-patch+json';
const TIMEOUT_MILLIS = 10_000;
const BACKOFF = { baseMillis: 500, capMillis: 30_000 };

export function startPublisher(options: PublisherOptions): InventoryPublisher {
  const stopped = new AbortController();
  let wanted: { readonly text: string; readonly gpus: number } | undefined;
  let landed: string | undefined;
  let isRunning = false;
  const run = async (): Promise<void> => {
    for (let attempt = 0; !stopped.signal.aborted && wanted !== undefined && wanted.text !== landed;) {
      const { text, gpus } = wanted;
      const trouble = await write(options, text, gpus);
      if (trouble === undefined) {
        landed = text;
        attempt = 0;
        continue;
      }
      options.report(`the inventory is not published yet: ${trouble}`);
      await options.delays.sleep(
        backoffMillis(BACKOFF, attempt++, () => options.delays.random()),
        stopped.signal,
      );
    }
    isRunning = false;
  };
  return {
    publish(inventory) {
      wanted = { text: encodeInventory(inventory), gpus: inventory.gpus.length };
      if (isRunning || wanted.text === landed) return;
      isRunning = true;
      void run();
    },
    isPublished: () => wanted !== undefined && wanted.text === landed,
    stop: () => stopped.abort(),
  };
}

/** Writes what differs; returns what went wrong, if anything. */
async function write(
  { api, nodeName, profile }: PublisherOptions,
  text: string,
  gpus: number,
): Promise<string | undefined> {
  const path = apiPath('v1', 'nodes', nodeName);
  try {
    const present = await api.request('GET', path, { timeoutMillis: TIMEOUT_MILLIS });
    if (present.status !== 200) return describeAnswer(present);
    if (annotationOf(present.body) !== text) {
      const body = { metadata: { annotations: { [INVENTORY_ANNOTATION]: text } } };
      const answer = await api.request('PATCH', path, {
        body,
        contentType: MERGE_PATCH,
        timeoutMillis: TIMEOUT_MILLIS,
      });
      if (answer.status !== 200) return describeAnswer(answer);
    }
    return profile === 'gpushare' ? await writeCount(api, path, gpus) : undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** gpushare's extender and CLI divide the node's memory by this count. */
async function writeCount(api: KubeApi, path: string, gpus: number): Promise<string | undefined> {
  const amounts = { [GPUSHARE_NODE_RESOURCES.count]: String(gpus) };
  const body = { status: { capacity: amounts, allocatable: amounts } };
  const answer = await api.request('PATCH', `${path}/status`, {
    body,
    contentType: MERGE_PATCH,
    timeoutMillis: TIMEOUT_MILLIS,
  });
  return answer.status === 200 ? undefined : describeAnswer(answer);
}

function annotationOf(node: unknown): unknown {
  const metadata = isRecord(node) ? node['metadata'] : undefined;
  const annotations = isRecord(metadata) ? metadata['annotations'] : undefined;
  return isRecord(annotations) ? annotations[INVENTORY_ANNOTATION] : undefined;
}
