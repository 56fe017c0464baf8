// The builders of the report: what they draw of hand-made results, and what they make of hostile or incomplete ones.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { barPlot } from '../../simulator/report/bar-plot.ts';
import { groupsOf, heatMap, levelOf } from '../../simulator/report/heat-map.ts';
import { linePlot } from '../../simulator/report/line-plot.ts';
import { element, joined, short } from '../../simulator/report/markup.ts';
import { page } from '../../simulator/report/page.ts';
import { readResults } from '../../simulator/report/results-file.ts';
import type { PolicyReport, TraceReport } from '../../simulator/report/results.ts';
import { exactScale, roundScale } from '../../simulator/report/scale.ts';
import { traceSection } from '../../simulator/report/section.ts';
import { stackedPlot } from '../../simulator/report/stacked-bars.ts';
import { callSimulator, Folder } from '../support/simulated.ts';

const HOSTILE = `"><script>alert('x')</script>&`;
const TEXT = { id: 'x', title: 'title', description: 'description' };

function policy(change: Partial<PolicyReport>): PolicyReport {
  return {
    name: 'fgd',
    seeds: [1, 2],
    allocation: { mean: 95.4, deviation: 0.1 },
    fragmentation: { mean: 4.6, deviation: 0.1 },
    published: undefined,
    refused: 10,
    refusedBy: undefined,
    curve: [],
    occupancy: undefined,
    ...change,
  };
}

function section(policies: readonly PolicyReport[], bounds?: TraceReport['bounds']): string {
  return traceSection({ trace: 'sketch', policies, bounds }, 0).html;
}

describe('markup', () => {
  it('escapes text and attributes, and never escapes twice', () => {
    const html = element('p', { title: HOSTILE }, HOSTILE, element('b', {}, '&')).html;
    const safe = '&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;';
    expect(html).toBe(`<p title="${safe}">${safe}<b>&amp;</b></p>`);
    expect(joined([joined(['<'])]).html).toBe('&lt;');
  });

  it('writes numbers short, without minus zero and exponents', () => {
    expect([1 / 3, -0.001, 1e-9, 12, 0.005].map(short)).toEqual(['0.33', '0', '0', '12', '0.01']);
    expect(element('meta', { a: undefined, b: 0 }).html).toBe('<meta b="0">');
  });
});

describe('scales', () => {
  it.each([
    [0, 12.5, [0, 5, 10, 15]],
    [4.2, 15.9, [4, 6, 8, 10, 12, 14, 16]],
    [69.1, 99.9, [60, 70, 80, 90, 100]],
    [0, 0.004, [0, 0.001, 0.002, 0.003, 0.004]],
    [0, 2790, [0, 500, 1000, 1500, 2000, 2500, 3000]],
  ])('from %f to %f have round ends and ticks', (least, most, ticks) => {
    const scale = roundScale(least, most, 0, 100);
    expect(scale.ticks).toEqual(ticks);
    expect([scale.at(ticks[0] ?? NaN), scale.at(ticks.at(-1) ?? NaN)]).toEqual([0, 100]);
  });

  it('end where the values end, where that is asked for, with round ticks between', () => {
    const scale = exactScale(3, 130, 0, 127);
    expect(scale.ticks).toEqual([20, 40, 60, 80, 100, 120]);
    expect([scale.at(3), scale.at(130), scale.at(140)]).toEqual([0, 127, 127]);
  });

  it('survive a single value', () => {
    for (const scale of [roundScale(5, 5, 0, 10), exactScale(5, 5, 0, 10)])
      expect(scale.at(5)).toBeGreaterThanOrEqual(0);
  });
});

describe('a drawing', () => {
  it('of lines leaves out what lies before the plotted part', () => {
    const series = [{ name: 'fgd', points: [[10, 10] as const, [20, 20] as const, [30, 25] as const] }];
    const html = linePlot({ ...TEXT, xName: 'x', yName: 'y', series, limits: [], fromX: 20 }).html;
    expect(html.match(/class="line s0"/g)).toHaveLength(2);
    expect(html).toMatch(/<path d="M44 [\d.]+L468 [\d.]+" class="line s0">/);
  });

  it('of bars begins at zero, with error bars only where there is a deviation', () => {
    const bars = [
      { name: 'a', value: 10, deviation: 1, published: 9 },
      { name: 'b', value: 5, deviation: 0, published: undefined },
    ];
    const html = barPlot({ ...TEXT, xName: 'x', bars, limits: [{ name: 'least', x: 1 }] }).html;
    const widths = [...html.matchAll(/<rect x="104" y="[\d.]+" width="([\d.]+)"/g)].map(([, width]) => Number(width));
    expect((widths[0] ?? 0) / (widths[1] ?? 1)).toBeCloseTo(2, 2);
    expect(html.match(/<g class="error">/g)).toHaveLength(1);
    // One mark, one in the legend.
    expect(html.match(/class="published"/g)).toHaveLength(2);
    expect(html).toContain('10.00 ± 1.00');
  });

  it('of stacked parts shows no part of nothing', () => {
    const bars = [{ name: 'a', parts: [2, 0, 3] }];
    const html = stackedPlot({ ...TEXT, xName: 'x', partNames: ['p', 'q', 'r'], bars }).html;
    expect(html.match(/class="part" fill="url\(#x-p\d\)"/g)).toHaveLength(2 + 3);
  });

  it('of GPUs puts nodes of a kind together, the fullest first', () => {
    const node = (name: string, model: string, ...allocatedMilli: number[]) => ({ name, model, allocatedMilli });
    const nodes = [node('a', 'T4', 0), node('b', 'G2', 0, 190), node('c', 'G2', 1000, 810), node('d', 'T4', 10)];
    const groups = groupsOf(nodes).map((group) => `${group.model} ${group.nodes.map(({ name }) => name).join('')}`);
    expect(groups).toEqual(['G2 cb', 'T4 da']);
    const html = heatMap({ ...TEXT, nodes }).html;
    const squares = [...html.matchAll(/d="([^"]+)" class="cell l(\d)"/g)].map(([, d = '', level]) => [
      level,
      d.split('M').length - 1,
    ]);
    expect(squares).toEqual([
      ['0', 1],
      ['1', 1],
      ['4', 1],
      ['5', 1],
      ['0', 1],
      ['1', 1],
    ]);
  });

  it('of more nodes than fit beside each other goes on below, and loses none', () => {
    const nodes = Array.from({ length: 300 }, (_, at) => ({ name: `n${at}`, model: 'G2', allocatedMilli: [1000, at] }));
    const html = heatMap({ ...TEXT, nodes }).html;
    const squares = [...html.matchAll(/d="([^"]+)" class="cell l\d"/g)].flatMap(([, d = '']) => d.split(/(?=M)/));
    expect(squares).toHaveLength(600);
    expect(new Set(squares).size).toBe(600);
    const rights = squares.map((square) => Number(/^M([\d.]+)/.exec(square)?.[1]));
    expect(Math.max(...rights)).toBeLessThan(480);
  });

  it.each([
    [0, 0],
    [1, 1],
    [249, 1],
    [250, 2],
    [500, 3],
    [750, 4],
    [999, 4],
    [1000, 5],
  ])('puts %i milli on level %i', (milli, level) => {
    expect(levelOf(milli)).toBe(level);
  });
});

describe('a section', () => {
  it('of results without curves, reasons and occupancy shows what there is', () => {
    const html = section([policy({})]);
    expect(html.match(/<svg/g)).toHaveLength(2);
    expect(html).toContain('95.40 ± 0.10');
    expect(html).not.toMatch(/undefined|NaN|Infinity/);
  });

  it('draws nothing that is not a number, whatever the results', () => {
    const point = { arrivedPercent: 0, allocationPercent: 0, fragmentationPercent: 0, fragmentationRatioPercent: 0 };
    const zero = { mean: 0, deviation: 0 };
    const none = { unseen: 0, memory: 0, cpu: 0, split: 0, full: 0, never: 0 };
    const odd = policy({ allocation: zero, fragmentation: zero, curve: [point], refused: 0, refusedBy: none });
    const bounds = { noRefusalPercent: undefined, linearPercent: 100, allCpuOnlyPercent: undefined };
    const html = section([odd, policy({ name: 'other' })], { over: '1 seed', bounds });
    expect(html).not.toMatch(/undefined|NaN|Infinity/);
  });

  it('tells series apart by more than colour', () => {
    const curve = [0, 50, 100].map((arrivedPercent) => ({
      ...{ arrivedPercent, allocationPercent: arrivedPercent * 0.9, fragmentationPercent: 5 },
      fragmentationRatioPercent: 5,
    }));
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const html = section(names.map((name) => policy({ name, curve })));
    const looks = [...html.matchAll(/<path d="M[^"]*L[^"]*" (class="line s\d"(?: stroke-dasharray="[^"]*")?)/g)];
    expect(new Set(looks.map(([, look]) => look)).size).toBe(names.length);
    expect(new Set(looks.map(([, look = '']) => look.replace(/s\d/, ''))).size).toBe(names.length);
  });
});

describe('a page', () => {
  it('is the same for the same results, without scripts or addresses', () => {
    const make = (): string =>
      page(HOSTILE, HOSTILE, [
        traceSection({ trace: HOSTILE, policies: [policy({ name: HOSTILE })], bounds: undefined }, 0),
      ]);
    expect(make()).toBe(make());
    expect(make()).not.toMatch(/<script|onload=|src=|href=|@import|https?:|<link/);
  });
});

describe('results from files', () => {
  it('of several runs are means over their seeds, with the map of the first', async () => {
    using folder = new Folder();
    const files: string[] = [];
    for (const seed of ['1', '2']) {
      files.push(folder.free(`${seed}.json`));
      await callSimulator('run', '--scale', '0.02', '--seed', seed, '--json', files.at(-1) ?? '');
    }
    const [trace, ...others] = readResults(files);
    expect(others).toEqual([]);
    expect(trace?.policies).toMatchObject([{ name: 'fgd', seeds: [1, 2], occupancy: { seed: 1 } }]);
    expect(trace?.policies[0]?.occupancy?.nodes).toHaveLength(24);
    expect(trace?.policies[0]?.curve.length).toBeGreaterThan(100);
  });

  it('of a comparison are what the comparison says, with the bounds it computed', async () => {
    using folder = new Folder();
    const file = folder.free('compared.json');
    const flags = ['--scale', '0.02', '--seeds', '1,2', '--policies', 'fgd,bestfit', '--workers', '1', '--bounds'];
    await callSimulator('compare', ...flags, '--json', file);
    const [trace] = readResults([file]);
    expect(trace?.policies.map(({ name, seeds }) => [name, seeds.length])).toEqual([
      ['fgd', 2],
      ['bestfit', 2],
    ]);
    expect(trace?.bounds?.over).toBe('2 seeds');
    const { code, stdout } = await callSimulator('report', file, '--out', '-', '--title', 'Two policies');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^<!doctype html>\n<html lang="en">.*<h1>Two policies<\/h1>/s);
    expect(stdout.match(/<svg/g)).toHaveLength(5);
  });

  it.each<[string, string, RegExp]>([
    ['no JSON', '{', /bad\.json: not JSON \(.*\); give files that/],
    ['nothing of ours', '{"a": 1}', /bad\.json: no results in it/],
    ['a list', '[]', /bad\.json: the file must be object/],
    ['a wrong type', '{"comparisons": [{"trace": 1}]}', /bad\.json: comparisons\.0.*; give files that/],
    ['a run without a curve', '{"policy": "fgd"}', /bad\.json: the file must have required properties/],
    [
      'bounds alone',
      '{"bounds": [{"trace": "a", "mean": {"linearPercent": 1}, "perSeed": [1]}]}',
      /bounds alone make no report/,
    ],
  ])('that hold %s end in a fault with the place and advice', async (_, content, message) => {
    using folder = new Folder();
    const { code, stderr } = await callSimulator('report', folder.file('bad.json', content), '--out', folder.free('x'));
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });

  it('that tell of the same twice are a fault, and so are flags for runs beside files', async () => {
    using folder = new Folder();
    const comparison = { trace: 'a', policy: 'fgd', seeds: [1], allocation: { mean: 1, deviation: 0 }, refused: 1 };
    const text = JSON.stringify({ comparisons: [{ ...comparison, fragmentation: { mean: 1, deviation: 0 } }] });
    const [one, two] = [folder.file('one.json', text), folder.file('two.json', text)];
    const twice = await callSimulator('report', one, two, '--out', '-');
    expect(twice.stderr).toMatch(/two\.json: a second result of fgd on a; leave one of the files out/);
    const flagged = await callSimulator('report', one, '--out', '-', '--policies', 'fgd');
    expect(flagged.stderr).toMatch(/files bring their results; leave out --openb/);
    expect([twice.code, flagged.code]).toEqual([2, 2]);
  });

  it('with occupancy in another form name the line', async () => {
    using folder = new Folder();
    const file = folder.free('run.json');
    await callSimulator('run', '--scale', '0.01', '--json', file);
    folder.file('broken.json', readFileSync(file, 'utf8').replace(/"node-0001,[^"]*"/, '"node-0001,G2,2000"'));
    const { stderr } = await callSimulator('report', folder.free('broken.json'), '--out', '-');
    expect(stderr).toMatch(/broken\.json: occupancy\.1 is not of the form name,model,milli/);
  });
});

describe('report', () => {
  it('writes the same bytes on any number of workers', async () => {
    const pages: string[] = [];
    for (const workers of ['1', '2']) {
      const flags = ['--scale', '0.02', '--seeds', '1,2', '--policies', 'fgd,random', '--workers', workers];
      pages.push((await callSimulator('report', '--out', '-', ...flags)).stdout);
    }
    expect(pages[0]).toBe(pages[1]);
    expect(pages[0]?.match(/<svg/g)).toHaveLength(7);
  });

  it('--help shows examples, and a page needs a place', async () => {
    expect((await callSimulator('report', '--help')).stdout).toContain('Examples:\n  node simulator/main.ts report');
    const { code, stderr } = await callSimulator('report');
    expect(stderr).toContain("required option '--out <file>'");
    expect(code).toBe(2);
  });
});
