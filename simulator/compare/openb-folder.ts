// Where the files of the openb trace lie in its folder.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { TraceFault } from '../trace/fault.ts';

export interface OpenbFiles {
  readonly nodes: string;
  readonly pods: string;
  readonly arrivals: string;
}

/** The files of one trace. A missing one of those needed is a fault that names it. */
export function openbFiles(
  folder: string,
  trace: string,
  needed: readonly (keyof OpenbFiles)[] = ['nodes', 'pods', 'arrivals'],
): OpenbFiles {
  const files = {
    nodes: join(folder, 'openb_node_list_gpu_node.csv'),
    pods: join(folder, `openb_pod_list_${trace}.csv`),
    arrivals: join(folder, 'arrivals', `${trace}.jsonl.gz`),
  };
  const missing = needed.map((kind) => files[kind]).find((file) => !existsSync(file));
  if (missing === undefined) return files;
  throw new TraceFault(
    `${missing}: no such file; --openb names the folder of the trace, --traces one of its pod lists`,
  );
}
