import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readArrivals, seedsIn } from '../../simulator/trace/arrivals.ts';
import { TraceFault } from '../../simulator/trace/fault.ts';
import { readLines } from '../../simulator/trace/lines.ts';
import { readNodes, readPods, traceNameOf } from '../../simulator/trace/openb.ts';
import { Folder } from '../support/simulated.ts';

const NODES = 'sn,cpu_milli,memory_mib,gpu,model\n';
const PODS = 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n';

async function faultOf(read: Promise<unknown>): Promise<string> {
  try {
    await read;
  } catch (error) {
    if (error instanceof TraceFault) return error.message;
    throw error;
  }
  return 'no fault';
}

describe('the node list', () => {
  it('gives nodes in the order of the file', async () => {
    using folder = new Folder();
    const file = folder.file('nodes.csv', `${NODES}a,96000,393216,8,G2\r\nb,64000,262144,0,\r\n`);
    expect(await readNodes(file)).toEqual([
      { name: 'a', cpuMilli: 96_000, memoryMiB: 393_216, gpus: 8, model: 'G2' },
      { name: 'b', cpuMilli: 64_000, memoryMiB: 262_144, gpus: 0, model: '' },
    ]);
  });

  it('finds columns by name, in any order and among others', async () => {
    using folder = new Folder();
    const file = folder.file('nodes.csv', '\uFEFFzone,model,gpu,sn,memory_mib,cpu_milli\nx,T4,2,a,262144,96000');
    expect(await readNodes(file)).toEqual([{ name: 'a', cpuMilli: 96_000, memoryMiB: 262_144, gpus: 2, model: 'T4' }]);
  });

  it.each([
    ['an empty file', '', /nodes\.csv:1: the file is empty; its first line names the columns: sn, cpu_milli/],
    ['a heading alone', NODES, /nodes\.csv:2: no data after the heading/],
    [
      'a missing column',
      'sn,cpu_milli,memory_gib,gpu,model\na,96000,384,8,G2',
      /:1: no column memory_mib; .*"memory_gib": convert/,
    ],
    ['a column twice', 'sn,sn,cpu_milli,memory_mib,gpu,model\n', /:1: two columns are named "sn"/],
    ['a short line', `${NODES}a,96000,393216,8\n`, /:2: 4 cells where the heading has 5/],
    ['an empty line inside', `${NODES}a,96000,393216,8,G2\n\nb,96000,393216,8,G2\n`, /:3: the line is empty/],
    ['a unit in a cell', `${NODES}a,96000,384Gi,8,G2\n`, /:2: memory_mib is "384Gi", not a whole number .* MiB/],
    ['a fraction', `${NODES}a,0.5,393216,8,G2\n`, /:2: cpu_milli is "0.5".*thousandths of a core/],
    ['a negative amount', `${NODES}a,-1,393216,8,G2\n`, /:2: cpu_milli is "-1"/],
    ['an exponent', `${NODES}a,1e3,393216,8,G2\n`, /:2: cpu_milli is "1e3"/],
    ['bytes for MiB', `${NODES}a,96000,412316860416,8,G2\n`, /:2: memory_mib is "412316860416"/],
    [
      'cores for milli-cores',
      `${NODES}a,96,393216,8,G2\n`,
      /nodes\.csv:1: no node has more than 96 in cpu_milli; the unit/,
    ],
    ['GiB for MiB', `${NODES}a,96000,384,8,G2\n`, /:1: no node has more than 384 in memory_mib; the unit/],
    ['a name twice', `${NODES}a,96000,393216,8,G2\na,96000,393216,8,G2\n`, /:3: a second node named "a", as on line 2/],
    ['no name', `${NODES},96000,393216,8,G2\n`, /:2: the node is named ""/],
    ['GPUs of no model', `${NODES}a,96000,393216,8,\n`, /:2: model is "" on a node with 8 GPUs/],
    ['too many GPUs', `${NODES}a,96000,393216,8000,G2\n`, /:2: gpu is "8000".*number of GPUs in the node/],
    ['no GPU at all', `${NODES}a,96000,393216,0,\n`, /no node has a GPU/],
    ['bytes that are no text', Buffer.from([0x73, 0x6e, 0xff, 0xfe, 0x0a]), /nodes\.csv:1: .* not text/],
  ])('refuses %s, with its place and what to do', async (_, content, message) => {
    using folder = new Folder();
    expect(await faultOf(readNodes(folder.file('nodes.csv', content)))).toMatch(message);
  });

  it('names a file that is not there', async () => {
    expect(await faultOf(readNodes('/nowhere/nodes.csv'))).toMatch(/^\/nowhere\/nodes\.csv: cannot be read \(ENOENT/);
  });
});

describe('the pod list', () => {
  it('shares the requests of equal pods', async () => {
    using folder = new Folder();
    const list = await readPods(
      folder.file('pods.csv', `${PODS}a,4000,8192,1,460,\nb,4000,8192,1,1000,V100M16|V100M32\nc,4000,8192,1,460,\n`),
    );
    expect([...list.pods]).toEqual([0, 1, 0]);
    expect(list.requests[0]).toMatchObject({
      gpuCount: 1,
      slicesPerGpu: 460,
      host: { cpuMilli: 4000, memoryMiB: 8192 },
    });
    expect(list.requests[1]?.models).toEqual({ allow: ['V100M16', 'V100M32'], deny: [] });
  });

  it('reads lists without model constraints', async () => {
    using folder = new Folder();
    const file = folder.file('pods.csv', 'name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,4000,8192,0,0\n');
    expect((await readPods(file)).requests[0]?.models.allow).toEqual([]);
  });

  it.each([
    ['more than a GPU', 'a,4000,8192,1,1001,', /:2: gpu_milli is "1001", not a whole number from 0 to 1000/],
    ['a fraction of a GPU', 'a,4000,8192,1,0.5,', /:2: gpu_milli is "0.5".*thousandths of each GPU/],
    ['no amount', 'a,4000,,1,500,', /:2: memory_mib is "", not a whole number/],
    ['a share without a GPU', 'a,4000,8192,0,500,', /:2: gpu_milli is 500 but num_gpu is 0/],
    ['a GPU without a share', 'a,4000,8192,1,0,', /:2: gpu_milli is 0 but num_gpu is 1/],
    ['shares of several GPUs', 'a,4000,8192,2,500,', /:2: gpu_milli is 500 with num_gpu 2/],
    ['models without a GPU', 'a,4000,8192,0,0,T4', /:2: gpu_spec is "T4" but num_gpu is 0/],
    ['a list of no models', 'a,4000,8192,1,500,T4||P100', /:2: gpu_spec is "T4\|\|P100"/],
    ['cores for milli-cores', 'a,4,8192,1,500,', /:1: no pod has more than 4 in cpu_milli/],
    ['GiB for MiB', 'a,4000,64,1,500,', /:1: no pod has more than 64 in memory_mib/],
    ['a name twice', 'a,4000,8192,1,500,\na,4000,8192,1,500,', /:3: a second pod named "a", as on line 2/],
  ])('refuses %s', async (_, lines, message) => {
    using folder = new Folder();
    expect(await faultOf(readPods(folder.file('pods.csv', `${PODS}${lines}\n`)))).toMatch(message);
  });

  it('is called after its file', () => {
    expect(traceNameOf('/x/openb_pod_list_cpu050.csv')).toBe('cpu050');
    expect(traceNameOf('mine.csv')).toBe('mine');
  });
});

describe('arrivals', () => {
  const line = (seed: number): string => JSON.stringify({ trace: 't', seed, nodes: [1, 0], pods: [2, 0, 2] });

  it.each([
    ['plain', (text: string): string => text],
    ['gzipped', (text: string): Uint8Array => gzipSync(text)],
  ])('are read from %s files, by seed', async (_, pack) => {
    using folder = new Folder();
    const file = folder.file('arrivals', pack(`${line(41)}\n${line(42)}\n`));
    const { seed, order } = await readArrivals(file, 42, 2, 3);
    expect({ seed, nodes: [...Array.from(order.nodes)], pods: [...Array.from(order.pods)] }).toEqual({
      seed: 42,
      nodes: [1, 0],
      pods: [2, 0, 2],
    });
    expect(await seedsIn(file)).toEqual([41, 42]);
  });

  it('of the only seed need no choice', async () => {
    using folder = new Folder();
    expect((await readArrivals(folder.file('a.jsonl', line(7)), undefined, 2, 3)).seed).toBe(7);
  });

  it('keep their seed wherever it stands in the object', async () => {
    using folder = new Folder();
    const file = folder.file('a.jsonl', '{"pods":[0],"nodes":[0],"seed":5}\n{"seed":6,"pods":[0],"nodes":[0]}');
    expect((await readArrivals(file, 6, 1, 1)).seed).toBe(6);
  });

  it.each<[string, string, number | undefined, RegExp]>([
    ['no JSON', '{"seed": 1', 1, /a\.jsonl:1: not JSON/],
    ['a list', '[1]', 1, /:1: not a JSON object/],
    ['no seed', '{"nodes":[0,1],"pods":[0]}', 1, /:1: "seed" is "undefined"/],
    ['an empty file', '', 1, /:1: no arrivals in the file/],
    ['another seed', line(1), 2, /no arrivals of seed 2; the file has seeds 1/],
    ['several seeds and no choice', `${line(1)}\n${line(2)}`, undefined, /choose one with --seed: 1, 2/],
    ['a seed twice', `${line(1)}\n${line(1)}`, 1, /:2: a second order of seed 1, as on line 1/],
    [
      'an unknown pod',
      '{"seed":1,"nodes":[0,1],"pods":[0,3]}',
      1,
      /:1: entry 1 of "pods" is "3", but rows go from 0 to 2/,
    ],
    ['a negative row', '{"seed":1,"nodes":[0,1],"pods":[-1]}', 1, /entry 0 of "pods" is "-1"/],
    ['a row that is text', '{"seed":1,"nodes":[0,1],"pods":["0"]}', 1, /entry 0 of "pods"/],
    ['a node twice', '{"seed":1,"nodes":[0,0],"pods":[0]}', 1, /"nodes" names a row twice/],
    ['too few nodes', '{"seed":1,"nodes":[1],"pods":[0]}', 1, /"nodes" lists 1 nodes, the node list has 2/],
    ['no pods', '{"seed":1,"nodes":[0,1],"pods":[]}', 1, /"pods" is not a list of rows/],
  ])('with %s are refused', async (_, text, seed, message) => {
    using folder = new Folder();
    expect(await faultOf(readArrivals(folder.file('a.jsonl', text), seed, 2, 3))).toMatch(message);
  });

  it.each([0.3, 0.6, 0.99])('in a gzip file cut at %f of its length are refused', async (part) => {
    using folder = new Folder();
    const whole = gzipSync(JSON.stringify({ seed: 1, nodes: [0], pods: Array.from({ length: 5000 }, (_, at) => at) }));
    const file = folder.file('a.jsonl.gz', whole.subarray(0, Math.floor(whole.length * part)));
    expect(await faultOf(readArrivals(file, 1, 1, 5000))).toMatch(
      /a\.jsonl\.gz:1: cannot be decompressed .* cut short/,
    );
  });
});

describe('lines', () => {
  it('come whole and numbered, however they lie in the chunks of the file', async () => {
    using folder = new Folder();
    const lines = Array.from({ length: 3000 }, (_, at) => `${'é'.repeat(at % 400)}${at}`);
    const file = folder.file('lines', `${lines.join('\n')}\n`);
    const got: string[] = [];
    await readLines(file, 4096, (text, line) => {
      got.push(text);
      expect(line).toBe(got.length);
    });
    expect(got).toEqual(lines);
  });

  it.each([
    ['plain', (bytes: Buffer): Uint8Array => bytes],
    ['gzipped', (bytes: Buffer): Uint8Array => gzipSync(bytes)],
  ])('without an end are refused at the limit, long before a %s file is read', async (_, pack) => {
    using folder = new Folder();
    const file = folder.file('long', pack(Buffer.concat([Buffer.from('head\n'), Buffer.alloc(1 << 25, 'x')])));
    let taken = 0;
    const message = await faultOf(readLines(file, 1 << 16, () => taken++));
    expect(message).toMatch(/long:2: the line is longer than 65536 bytes; is it the right file/);
    expect(taken).toBe(1);
  });
});
