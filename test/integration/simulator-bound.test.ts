// `bound` and `compare --bounds` as a process sees them: files in, files and text out.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { knownBoundsOf } from '../../simulator/bound/known.ts';
import { openbFolder } from '../support/openb.ts';
import { callSimulator, Folder } from '../support/simulated.ts';

const NODES = 'sn,cpu_milli,memory_mib,gpu,model\na,96000,393216,2,T4\nb,96000,393216,2,A10\n';
const PODS = [
  'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec',
  ...Array.from({ length: 4 }, (_, at) => `p${at},4000,8192,1,600,`),
  'q,4000,8192,1,1000,H100\n',
].join('\n');

/** Two nodes of two GPUs, four pods of 600 milli and one that fits nowhere. */
function smallTrace(folder: Folder): readonly string[] {
  return ['--nodes', folder.file('nodes.csv', NODES), '--pods', folder.file('small.csv', PODS)];
}

interface Bounds {
  readonly bounds: readonly {
    readonly trace: string;
    readonly neverHosted: number;
    readonly mean: { readonly linearPercent: number; readonly allCpuOnlyPercent: number };
    readonly perSeed: readonly { readonly seed?: number; readonly linearPercent: number }[];
  }[];
}

describe('bound', () => {
  it('bounds a pod list in proportion, and says which pods fit nowhere', async () => {
    using folder = new Folder();
    const { code, stdout } = await callSimulator('bound', ...smallTrace(folder), '--inflate', '2');
    expect(code).toBe(0);
    // Four GPUs hold four of the sharing pods; 3.4 GPUs are asked for when they do, one of them in vain.
    expect(stdout).toMatch(/small +pod list +85\.00 +60\.00 +60\.00\n/);
    expect(stdout).toContain('small: 1 listed GPU pods fit on no node');
  });

  it('writes the same as JSON and CSV', async () => {
    using folder = new Folder();
    const json = folder.free('out.json');
    const { stdout } = await callSimulator('bound', ...smallTrace(folder), '--json', json, '--csv', '-');
    expect(stdout).toBe('trace,seed,noRefusalPercent,linearPercent,allCpuOnlyPercent\nsmall,,85,60,60\n');
    const { bounds } = JSON.parse(readFileSync(json, 'utf8')) as Bounds;
    expect(bounds).toEqual([
      {
        ...{ trace: 'small', nodes: 2, gpus: 4, neverHosted: 1 },
        mean: { noRefusalPercent: 85, linearPercent: 60, allCpuOnlyPercent: 60 },
        perSeed: [{ noRefusalPercent: 85, linearPercent: 60, allCpuOnlyPercent: 60 }],
      },
    ]);
  });

  it('bounds the very arrivals that run places with the same flags', async () => {
    using folder = new Folder();
    for (const flags of [
      [...smallTrace(folder), '--seed', '3', '--inflate', '0.4'],
      ['--scale', '0.02', '--seed', '7'],
    ]) {
      const { stdout } = await callSimulator('bound', ...flags, '--json', '-');
      const { bounds } = JSON.parse(stdout) as Bounds;
      const placed = await callSimulator('run', ...flags, '--json', '-');
      const { allocationPercent } = JSON.parse(placed.stdout) as { readonly allocationPercent: number };
      expect(bounds[0]?.perSeed[0]?.seed).toBe(Number(flags[flags.indexOf('--seed') + 1]));
      expect(bounds[0]?.mean.linearPercent).toBeGreaterThanOrEqual(allocationPercent - 1e-4);
      expect(bounds[0]?.mean.linearPercent).toBeLessThanOrEqual(100);
    }
  });

  it.each<[string, readonly string[], RegExp]>([
    ['traces without their folder', ['--traces', 'default'], /--traces: belongs to a folder of traces; add --openb/],
    ['seeds without a folder', ['--seeds', '1'], /--seeds: belongs to a folder/],
    ['two sources at once', ['--openb', 'x', '--pods', 'y'], /--openb: brings its own nodes/],
    ['nodes without pods', ['--nodes', 'x.csv'], /--nodes and --pods go together/],
    ['a folder that is not there', ['--openb', '/nowhere'], /openb_node_list_gpu_node\.csv: no such file/],
    ['an unknown flag', ['--polices', 'x'], /unknown option/],
  ])('ends with code 2 and advice on %s', async (_, argv, message) => {
    const { code, stderr } = await callSimulator('bound', ...argv);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  it('names file and line of a broken pod list', async () => {
    using folder = new Folder();
    const flags = smallTrace(folder);
    writeFileSync(join(folder.path, 'small.csv'), PODS.replace('p2,4000', 'p2,4 cores'));
    const { code, stderr } = await callSimulator('bound', ...flags);
    expect(stderr).toMatch(/small\.csv:4: cpu_milli is "4 cores".*write CPU in thousandths/);
    expect(code).toBe(2);
  });

  it('--help says what the columns mean', async () => {
    const { stdout } = await callSimulator('bound', '--help');
    expect(stdout).toContain('Examples:\n  node simulator/main.ts bound');
    expect(stdout).toMatch(/No refusal up to: .*\nUpper bound: .*\nWith all CPU-only pods: /);
  });

  it.skipIf(openbFolder() === undefined)(
    'gives the known bounds of openb again (skipped without the trace files)',
    async () => {
      const flags = ['--openb', openbFolder() ?? '', '--traces', 'gpushare100,gpuspec33'];
      const { stdout } = await callSimulator('bound', ...flags);
      for (const trace of ['gpushare100', 'gpuspec33']) {
        const [known] = knownBoundsOf(trace);
        if (known === undefined) throw new Error(`no known bounds of ${trace}`);
        const { over, bounds } = known;
        const values = [bounds.noRefusalPercent, bounds.linearPercent, bounds.allCpuOnlyPercent].map((value) =>
          value?.toFixed(2),
        );
        expect(stdout).toMatch(new RegExp(`${trace} +${over} +${values.join(' +')}\n`));
      }
    },
  );
});

describe('compare --bounds', () => {
  it('shows the bounds of the arrivals it compares, and no policy exceeds them', async () => {
    const flags = ['--scale', '0.02', '--seeds', '1,2', '--policies', 'fgd,bestfit', '--workers', '1', '--bounds'];
    const { stdout } = await callSimulator('compare', ...flags, '--json', '-');
    const { results, bounds } = JSON.parse(stdout) as Bounds & {
      readonly results: readonly { readonly seed: number; readonly allocationPercent: number }[];
    };
    expect(bounds[0]?.perSeed.map(({ seed }) => seed)).toEqual([1, 2]);
    for (const { seed, allocationPercent } of results) {
      const most = bounds[0]?.perSeed.find((each) => each.seed === seed)?.linearPercent;
      expect(most).toBeGreaterThanOrEqual(allocationPercent);
    }
    const { stdout: text } = await callSimulator('compare', ...flags);
    expect(text).toMatch(/no refusal up to %  upper bound %  with all CPU-only pods %\n.*\ngenerated +2 seeds +\d/);
  });

  it('says nothing of bounds it was not asked for and does not know', async () => {
    const flags = ['--scale', '0.02', '--seeds', '1', '--policies', 'fgd', '--workers', '1'];
    const { stdout } = await callSimulator('compare', ...flags);
    expect(stdout).not.toContain('bound');
  });
});
