// Pods of every shape that asks for GPUs, for the tests that look at what their containers were given.

import type { NodeContainer, NodePod } from './containers.ts';
import { PRINT_ENVIRONMENT } from './containers.ts';

export interface PodShape {
  /** In words that complete "a pod of". */
  readonly title: string;
  readonly gpus: number;
  readonly pod: NodePod;
  /** Containers to look into. */
  readonly containers: readonly string[];
}

/** How a container asks for slices. */
export type Limits = (slices: number) => Pick<NodeContainer, 'limits'>;

export function podShapes(limits: Limits, countLabel: string): readonly PodShape[] {
  const severalGpus = (name: string, gpus: number): NodePod => {
    return { name, labels: { [countLabel]: String(gpus) }, containers: [{ name: 'c', ...limits(8) }] };
  };
  return [
    {
      title: 'one container',
      gpus: 1,
      pod: { name: 'one', containers: [{ name: 'c', ...limits(12) }] },
      containers: ['c'],
    },
    {
      title: 'two containers',
      gpus: 1,
      pod: {
        name: 'two',
        containers: [
          { name: 'a', ...limits(6) },
          { name: 'b', ...limits(4) },
        ],
      },
      containers: ['a', 'b'],
    },
    {
      title: 'an init container and a main one',
      gpus: 1,
      pod: {
        name: 'init',
        initContainers: [{ name: 'i', ...limits(8), script: PRINT_ENVIRONMENT }],
        containers: [{ name: 'm', ...limits(5) }],
      },
      containers: ['i', 'm'],
    },
    { title: 'two GPUs', gpus: 2, pod: severalGpus('pair', 2), containers: ['c'] },
    { title: 'four GPUs', gpus: 4, pod: severalGpus('quad', 4), containers: ['c'] },
  ];
}
