// The simulator's command line as a process sees it: files in, files and text out.

import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { openbFolder } from '../support/openb.ts';
import { callSimulator, Folder } from '../support/simulated.ts';

const MAIN = resolve(import.meta.dirname, '../../simulator/main.ts');
const RESULT_FIELDS = [
  ...[
    'policy',
    'trace',
    'seed',
    'driver',
    'nodes',
    'gpus',
    'pods',
    'arrivedMilli',
    'allocatedMilli',
    'allocationPercent',
  ],
  ...[
    'fragmentationMilli',
    'fragmentationPercent',
    'refused',
    'unseen',
    'refusedBy',
    'decisions',
    'wallMillis',
    'peakRssMiB',
    'curve',
    'occupancy',
  ],
];

function json(file: string): Readonly<Record<string, unknown>> {
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
}

describe('run', () => {
  it('needs no files, and gives the same bytes for the same seed', async () => {
    using folder = new Folder();
    const outputs: string[] = [];
    for (const round of ['a', 'b']) {
      const placements = folder.free(`${round}.csv`);
      const curve = folder.free(`${round}.curve`);
      const { code, stdout } = await callSimulator(
        ...['run', '--scale', '0.03', '--seed', '5', '--placements', placements, '--csv', curve],
      );
      expect(code).toBe(0);
      outputs.push(stdout + readFileSync(placements, 'utf8') + readFileSync(curve, 'utf8'));
    }
    expect(outputs[0]).toBe(outputs[1]);
    expect(outputs[0]).toMatch(/fgd on generated, seed 5: \d+ arrivals on 36 nodes/);
  });

  it('writes the result with every field, as a process of its own', async () => {
    using folder = new Folder();
    const out = folder.free('out.json');
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'run', '--scale', '0.02', '--json', out]);
    expect(stdout).toContain('allocated');
    const result = json(out);
    expect(Object.keys(result)).toEqual(RESULT_FIELDS);
    expect(result).toMatchObject({ policy: 'fgd', trace: 'generated', seed: 1, nodes: 24 });
    expect(Number(result['peakRssMiB'])).toBeGreaterThan(20);
  });

  it('reads what generate wrote, and places it as it places the generated workload itself', async () => {
    using folder = new Folder();
    const home = folder.free('made');
    expect((await callSimulator('generate', '--out', home, '--scale', '0.03', '--seed', '8')).code).toBe(0);
    const files = ['--nodes', join(home, 'nodes.csv'), '--pods', join(home, 'pods.csv')];
    const fromFiles = folder.free('files.csv');
    const direct = folder.free('direct.csv');
    const arrivals = ['--arrivals', join(home, 'arrivals.jsonl')];
    await callSimulator('run', ...files, ...arrivals, '--policy', 'gpupacking', '--placements', fromFiles);
    await callSimulator('run', '--scale', '0.03', '--seed', '8', '--policy', 'gpupacking', '--placements', direct);
    const text = readFileSync(fromFiles, 'utf8');
    expect(text).toBe(readFileSync(direct, 'utf8'));
    expect(text).toMatch(/^0,node-\d{4},[0-9|]*\n1,/);
    expect(text.split('\n').every((line, at) => line === '' || line.startsWith(`${at},`))).toBe(true);
  });

  it('prints one output to stdout and nothing else beside it', async () => {
    const { stdout } = await callSimulator('run', '--scale', '0.01', '--json', '-');
    expect(Object.keys(JSON.parse(stdout) as object)).toEqual(RESULT_FIELDS);
  });

  it.each<[string, readonly string[], RegExp]>([
    ['an unknown policy', ['run', '--policy', 'fdg'], /'fdg' is invalid\. There are random, dotprod/],
    ['an unknown flag', ['run', '--polcy', 'fgd'], /unknown option '--polcy'\n\(Did you mean --policy\?\)/],
    ['an unknown command', ['rum'], /unknown command 'rum'\n\(Did you mean run\?\)/],
    ['a seed that is none', ['run', '--seed', '-1'], /whole number from 0/],
    ['a load of nothing', ['run', '--inflate', '0'], /above 0/],
    ['pods without nodes', ['run', '--pods', 'x.csv'], /--nodes and --pods go together/],
    ['a file that is not there', ['run', '--nodes', 'no.csv', '--pods', 'no.csv'], /no\.csv: cannot be read/],
    [
      'a place that cannot be written',
      ['run', '--scale', '0.01', '--json', '/nowhere/x'],
      /\/nowhere\/x: cannot be written/,
    ],
    ['a flag that the driver ignores', ['run', '--narrow', '8'], /--narrow: .*add --driver scheduler/],
    ['a ranking that is none', ['run', '--ranking', 'best'], /Allowed choices are decisive, advisory/],
    ['more than all nodes', ['run', '--percentage-of-nodes-to-score', '101'], /whole number from 0 to 100/],
    ['a policy that ranks nothing', ['run', '--driver', 'scheduler', '--policy', 'random'], /random ranks no nodes/],
    [
      'a check of more than the policies',
      ['compare', '--openb', 'x', '--check', '--driver', 'scheduler'],
      /--check: the published results are of the policies alone/,
    ],
    ['weights of a policy that has none', ['run', '--weights', 'cpuWeight=0.2'], /--weights: only the policy fragm/],
    ['a weight that is none', ['run', '--weights', 'cpu=1'], /Write some of gpuCountExponent, cpuWeight and stepPods/],
    ['a weight said twice', ['run', '--weights', 'stepPods=0.1,stepPods=0.2'], /Write some of/],
    [
      'a weight out of its range',
      ['run', '--weights', 'stepPods=7'],
      /weight stepPods is 7; it must be from 0.001 to 1/,
    ],
    ['a load without times', ['run', '--load', '0.9'], /--load and --hours: only timed runs/],
    ['arrivals in total for a timed run', ['run', '--timed', '--inflate', '1.2'], /--inflate: timed runs/],
    ['an order for a timed run', ['run', '--timed', '--arrivals', 'x.jsonl'], /--arrivals: an order without times/],
    ['a check of generated workloads', ['compare', '--check'], /add --openb/],
  ])('ends with code 2 and advice on %s', async (_, argv, message) => {
    const { code, stderr } = await callSimulator(...argv);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  it('gives the default policy the weights it is told, in order and in time, and says so', async () => {
    const own = ['run', '--policy', 'fragmentation', '--scale', '0.05', '--json', '-'];
    const outcome = async (...flags: string[]): Promise<Readonly<Record<string, unknown>>> => {
      const { code, stdout, stderr } = await callSimulator(...own, ...flags);
      expect([code, stderr]).toEqual([0, '']);
      return { ...(JSON.parse(stdout) as Record<string, unknown>), wallMillis: 0, peakRssMiB: 0 };
    };
    const weights = { gpuCountExponent: 0.8, cpuWeight: 0.1, stepPods: 1 };
    for (const mode of [[], ['--timed', '--hours', '2']]) {
      const usual = await outcome(...mode);
      expect(usual['weights']).toBeUndefined();
      const { weights: said, ...same } = await outcome(...mode, '--weights', 'gpuCountExponent=0.8,stepPods=0.04');
      expect(said).toEqual({ ...weights, stepPods: 0.04 });
      expect(same).toEqual(usual);
      const other = await outcome(...mode, '--weights', 'stepPods=1');
      expect(other['weights']).toEqual(weights);
      expect(other['curve']).not.toEqual(usual['curve']);
    }
  });

  it.each(['run', 'compare', 'generate'])('%s --help shows examples', async (command) => {
    const { code, stdout } = await callSimulator(command, '--help');
    expect(code).toBe(0);
    expect(stdout).toContain(`Examples:\n  node simulator/main.ts ${command}`);
  });

  it('leaves no half-written file behind', async () => {
    using folder = new Folder();
    await callSimulator('run', '--scale', '0.01', '--json', join(folder.path, 'none', 'x.json'));
    expect(existsSync(join(folder.path, 'none'))).toBe(false);
  });
});

describe('run --timed', () => {
  it('needs no files, writes schedule, curve and result, and gives the same bytes for the same seed', async () => {
    using folder = new Folder();
    const outputs: string[] = [];
    for (const round of ['a', 'b']) {
      const [schedule, curve, result] = ['csv', 'curve', 'json'].map((end) => folder.free(`${round}.${end}`));
      const files = ['--placements', schedule ?? '', '--csv', curve ?? '', '--json', result ?? ''];
      const { code, stdout } = await callSimulator(
        ...['run', '--timed', '--scale', '0.02', '--load', '1.1', '--hours', '3', '--driver', 'scheduler', ...files],
      );
      expect(code).toBe(0);
      outputs.push([stdout, ...[schedule, curve, result].map((file) => readFileSync(file ?? '', 'utf8'))].join());
    }
    expect(outputs[0]).toBe(outputs[1]);
    expect(outputs[0]).toMatch(/online +\d+ pods waited/);
    expect(outputs[0]).toMatch(/arrival,node,gpus,arrivedSeconds,placedSeconds,leftSeconds\n0,node-\d{4},/);
    expect(outputs[0]).toMatch(/fromSeconds,allocationPercent,fragmentationPercent,runningPods,waitingPods\n/);
    const { classes, curve, endSeconds } = json(folder.free('a.json'));
    expect(Object.keys(classes as object)).toEqual(['online', 'batch']);
    expect(curve).toHaveLength(200);
    expect(endSeconds).toBe(10_800);
  });

  it('takes the times of a pod list, or other ones at a load', async () => {
    using folder = new Folder();
    const nodes = folder.file('nodes.csv', 'sn,cpu_milli,memory_mib,gpu,model\na,96000,393216,1,T4\n');
    const pods = folder.file(
      'pods.csv',
      'name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time\n' +
        'x,4000,2048,1,1000,LS,0,10\ny,4000,2048,1,1000,BE,2,7\n',
    );
    const recorded = await callSimulator('run', '--timed', '--nodes', nodes, '--pods', pods, '--placements', '-');
    expect(recorded.stdout.split('\n').slice(1)).toEqual(['0,a,0,0,0,10', '1,a,0,2,10,15', '']);
    const drawn = ['run', '--timed', '--nodes', nodes, '--pods', pods, '--load', '0.5', '--hours', '1'];
    expect((await callSimulator(...drawn)).stdout).toMatch(/\d{3} arrivals in 1\.0 h on 1 nodes/);
    const { code, stderr } = await callSimulator('run', '--timed', '--nodes', nodes, '--pods', pods, '--hours', '1');
    expect(stderr).toMatch(/--hours: the pod list has times of its own; add --load/);
    expect(code).toBe(2);
  });
});

describe('compare', () => {
  it.each([
    ['fgd,random', ['--driver', 'direct']],
    ['fgd,spread', ['--driver', 'scheduler', '--ranking', 'advisory', '--weight', '1']],
  ])('gives the same bytes on any number of workers: %s, %o', async (policies, driver) => {
    using folder = new Folder();
    const outputs: string[] = [];
    for (const workers of ['1', '2', '3']) {
      const out = folder.free(`${workers}.json`);
      const flags = ['--scale', '0.02', '--seeds', '1,2', '--policies', policies, ...driver, '--workers', workers];
      const { code, stdout } = await callSimulator('compare', ...flags, '--json', out);
      expect(code).toBe(0);
      outputs.push(stdout + readFileSync(out, 'utf8'));
    }
    expect(new Set(outputs).size).toBe(1);
    expect(outputs[0]).toMatch(/generated +fgd +2 /);
  });

  it('names the file that a trace lacks', async () => {
    const { code, stderr } = await callSimulator('compare', '--openb', '/nowhere', '--traces', 'default');
    expect(stderr).toMatch(/openb_node_list_gpu_node\.csv: no such file/);
    expect(code).toBe(2);
  });
});

describe('the published results', () => {
  const folder = openbFolder();

  it.skipIf(folder === undefined)(
    'are reached to two decimals by bestfit and gpupacking over all ten seeds (skipped without the trace files)',
    async () => {
      const flags = ['--traces', 'default', '--policies', 'bestfit,gpupacking', '--check'];
      const { code, stdout } = await callSimulator('compare', '--openb', folder ?? '', ...flags);
      expect(stdout).toContain('2 means over all ten published seeds agree to two decimals.');
      expect(code).toBe(0);
    },
  );

  // analysis_allo_discrete.csv and analysis_frag_discrete.csv of the artifact, column 130, seeds 42 to 44.
  const known = [
    { trace: 'cpu050', policy: 'dotprod', figure: 'allocationPercent', values: [93.5, 92.85, 93.27] },
    { trace: 'multigpu50', policy: 'fgd', figure: 'fragmentationPercent', values: [2.7, 2.7, 2.58] },
  ] as const;

  it.skipIf(folder === undefined).each(known)(
    'of $policy on $trace are reached seed by seed (skipped without the trace files)',
    async ({ trace, policy, figure, values }) => {
      const flags = ['--traces', trace, '--policies', policy, '--seeds', '42,43,44', '--json', '-'];
      const { stdout } = await callSimulator('compare', '--openb', folder ?? '', ...flags);
      const { results } = JSON.parse(stdout) as { results: { atLoad: Record<string, number> }[] };
      expect(results.map(({ atLoad }) => atLoad[figure])).toEqual(values);
    },
  );
});
