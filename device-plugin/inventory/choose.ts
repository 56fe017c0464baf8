// Which inventory source a node uses: `auto` takes NVML where it can be loaded, else nvidia-smi. The one place that knows
// all sources; each is loaded only when it is chosen, which keeps the others' code and libraries out of memory.

import type { NvmlOptions } from './nvml.ts';
import type { SmiOptions } from './smi.ts';
import type { InventorySource } from './source.ts';

export const INVENTORY_SYNTAX = 'auto, nvml, smi or file:PATH';

export interface ChoiceOptions {
  readonly nvml?: NvmlOptions;
  readonly smi?: SmiOptions;
  readonly file?: { readonly pollMillis?: number };
}

export interface InventoryChoice {
  readonly source: InventorySource;
  /** What was tried before it, and why that did not do. */
  readonly passedOver: readonly string[];
}

/** Opens the source that `choice` names and proves it with one reading. Rejects with all that was tried. */
export async function chooseInventory(choice: string, options: ChoiceOptions = {}): Promise<InventoryChoice> {
  const file = /^file:(.+)$/s.exec(choice)?.[1];
  if (file !== undefined) return { source: await proved(await openFile(file, options)), passedOver: [] };
  const openers = OPENERS.filter(({ name }) => choice === 'auto' || choice === name);
  if (openers.length === 0) {
    throw new Error(`${JSON.stringify(choice.slice(0, 80))} is no inventory source; write ${INVENTORY_SYNTAX}`);
  }
  const passedOver: string[] = [];
  for (const { name, open } of openers) {
    try {
      return { source: await proved(await open(options)), passedOver };
    } catch (error) {
      passedOver.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(`no GPUs can be read on this node.\n${passedOver.map((why) => `  ${why}`).join('\n')}`);
}

interface Opener {
  readonly name: string;
  readonly open: (options: ChoiceOptions) => Promise<InventorySource>;
}

const OPENERS: readonly Opener[] = [
  { name: 'nvml', open: async ({ nvml }) => (await import('./nvml.ts')).openNvml(nvml) },
  { name: 'smi', open: async ({ smi }) => (await import('./smi.ts')).smiSource(smi) },
];

async function openFile(path: string, { file }: ChoiceOptions): Promise<InventorySource> {
  return (await import('./file.ts')).fileSource({ path, ...file });
}

async function proved(source: InventorySource): Promise<InventorySource> {
  try {
    await source.read();
    return source;
  } catch (error) {
    await source.close();
    throw error;
  }
}
