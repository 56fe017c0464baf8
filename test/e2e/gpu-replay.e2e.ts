// The checkers of the end-to-end runs see what they are there to see; needs no control plane.

import { describe, expect, test } from 'vitest';

import { gpusOf, podManifest } from '../support/builders.ts';
import type { PodSketch } from '../support/builders.ts';
import type { AuditedCall } from './audit.ts';
import { replayViolations } from './gpu-replay.ts';
import { leadershipTerms, termFaults } from './leadership-terms.ts';
import type { PodSighting } from './watch-history.ts';

const NODES = [{ name: 'n', gpus: gpusOf(2, 16) }];

/** A pod shown bound to node n, told that it has these GPUs. */
function bound(sketch: PodSketch, gpus: readonly number[]): PodSighting {
  const { slices = 1, core = 0 } = sketch;
  const grants = gpus.map((index) => ({
    uuid: `GPU-n-${index}`,
    index,
    slices: slices / gpus.length,
    core: core / gpus.length,
  }));
  const allocation = JSON.stringify({ v: 1, containers: [{ name: 'main', gpus: grants }] });
  const annotations = { ...sketch.annotations, 'gpuloom.io/allocation': allocation };
  return { kind: 'shown', pod: { ...podManifest({ ...sketch, nodeName: 'n', annotations }) } };
}

function gone({ pod }: PodSighting): PodSighting {
  return { kind: 'gone', pod };
}

const batch = { class: 'batch', slices: 1 } as const;

describe('replaying a pod history', () => {
  test('finds nothing wrong where pods share within the limits, one after another', () => {
    const large = bound({ name: 'large', slices: 12, core: 60 }, [0]);
    const next = bound({ name: 'next', slices: 12, core: 60 }, [0]);
    const pair = bound({ name: 'pair', slices: 8, core: 80, count: 2 }, [0, 1]);
    expect(replayViolations([large, pair, large, gone(large), next], NODES)).toEqual([]);
  });

  test.each<readonly [string, readonly PodSighting[], string]>([
    ['memory', [bound({ name: 'a', slices: 9 }, [1]), bound({ name: 'b', slices: 8 }, [1])], '17 of 16 slices'],
    ['compute', [bound({ name: 'a', core: 60 }, [0]), bound({ name: 'b', core: 50 }, [0])], '110% compute'],
    ['tenants', Array.from({ length: 17 }, (_, at) => bound({ name: `p${at}`, slices: 0.5 }, [0])), '17 pods'],
    ['batch work', Array.from({ length: 5 }, (_, at) => bound({ ...batch, name: `p${at}` }, [0])), '5 batch pods'],
    [
      'batch work beside online work',
      [bound({ name: 'a' }, [0]), bound({ ...batch, name: 'b' }, [0]), bound({ ...batch, name: 'c' }, [0])],
      '2 batch pods beside online',
    ],
    [
      'batch memory beside online work',
      [bound({ name: 'a' }, [0]), bound({ name: 'b', class: 'batch', slices: 9 }, [0])],
      '9 batch slices beside online',
    ],
    [
      'batch work of several GPUs beside online work',
      [bound({ name: 'a' }, [0]), bound({ name: 'b', class: 'batch', slices: 2, count: 2 }, [0, 1])],
      'a batch pod of several GPUs beside online',
    ],
  ])('finds a GPU over its limit of %s though it ends within', (_limit, sightings, violation) => {
    const last = sightings.at(-1);
    const history = last === undefined ? sightings : [...sightings, gone(last)];
    expect(replayViolations(history, NODES).join('\n')).toContain(violation);
  });

  test('finds an allocation of the wrong number of GPUs, of wrong amounts, and one that changes', () => {
    const pod = { name: 'p', slices: 4 };
    expect(replayViolations([bound({ ...pod, count: 2 }, [0])], NODES).join()).toContain('asks 2 GPUs, holds 0');
    const other = bound({ ...pod, slices: 3 }, [0]).pod.metadata?.annotations?.['gpuloom.io/allocation'] ?? '';
    const short = bound(pod, [0]);
    const annotations = { 'gpuloom.io/allocation': other };
    const told = { ...short, pod: { ...short.pod, metadata: { ...short.pod.metadata, annotations } } };
    expect(replayViolations([told], NODES).join()).toContain('was told 3 and 0%');
    expect(replayViolations([bound(pod, [0]), bound(pod, [1])], NODES).join()).toContain('became');
  });
});

describe('reading leadership from the audit log', () => {
  const call = (client: string, resource: string, verb: string, at: number, holder?: string): AuditedCall => ({
    user: 'extender',
    client,
    verb,
    resource,
    namespace: '',
    name: 'x',
    status: 201,
    receivedAt: `12:00:${String(at).padStart(2, '0')}.0`,
    completedAt: `12:00:${String(at).padStart(2, '0')}.5`,
    requestObject: { spec: { holderIdentity: holder } },
  });
  const takes = (client: string, at: number): AuditedCall => call(client, 'leases', 'update', at, `id-${client}`);
  const lists = (client: string, at: number): AuditedCall[] => [
    call(client, 'nodes', 'list', at),
    call(client, 'pods', 'list', at),
  ];
  const binds = (client: string, at: number): AuditedCall => call(client, 'pods/binding', 'create', at);

  test('finds nothing wrong where each leader lists before it binds', () => {
    const calls = [...lists('b', 1), takes('a', 2), ...lists('a', 3), binds('a', 4), takes('b', 5), ...lists('b', 6)];
    expect(termFaults(leadershipTerms([...calls, binds('b', 7)]))).toEqual([]);
  });

  test('finds a leader that relies on the lists of its time as a candidate', () => {
    const terms = leadershipTerms([...lists('a', 1), takes('a', 2), call('a', 'nodes', 'list', 3), binds('a', 4)]);
    expect(termFaults(terms)).toEqual(['term 0 of a: bound before a fresh list of pods']);
  });

  test('finds a former leader that still binds', () => {
    const calls = [takes('a', 1), ...lists('a', 2), binds('a', 3), takes('b', 4), ...lists('b', 5), binds('b', 6)];
    expect(termFaults(leadershipTerms([...calls, binds('a', 7)]))).toEqual(['term 1 of b: a bound x']);
  });
});
