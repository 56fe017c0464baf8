// The page of `report` in a real browser: nothing but the file is loaded, everything is drawn, nothing sticks out, and it
// prints. Skipped where there is no Chromium.

import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateNodes } from '../../simulator/generate/openb-like.ts';
import { Browser, chromiumProgram, type Page } from '../support/browser.ts';
import { Folder } from '../support/simulated.ts';

const MAIN = resolve(import.meta.dirname, '../../simulator/main.ts');
const PROGRAM = chromiumProgram();
const POLICIES = ['random', 'bestfit', 'fgd'];
const CLUSTER = generateNodes(121);
const GPUS = CLUSTER.reduce((sum, { gpus }) => sum + gpus, 0);
const OPEN_DETAILS = 'document.querySelector("details").open = true';

// Text may not leave its drawing, where it would be cut off.
const OUTSIDE = `all.filter((text) => {
  const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
  return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
}).map((text) => text.textContent)`;

/** What an expression makes of the list `all` of elements. */
function ofAll(page: Page, selector: string, expression: string): Promise<unknown> {
  return page.evaluate(`((all) => ${expression})([...document.querySelectorAll(${JSON.stringify(selector)})])`);
}

function count(page: Page, selector: string): Promise<unknown> {
  return ofAll(page, selector, 'all.length');
}

function texts(page: Page, selector: string): Promise<unknown> {
  return ofAll(page, selector, 'all.map((each) => each.textContent)');
}

describe.skipIf(PROGRAM === undefined)('the report in a browser (skipped without Chromium)', () => {
  const folder = new Folder();
  const file = folder.free('page.html');
  let browser: Browser;

  beforeAll(async () => {
    const flags = ['--scale', '0.1', '--seeds', '1,2', '--policies', POLICIES.join(','), '--workers', '1', '--bounds'];
    await promisify(execFile)(process.execPath, [MAIN, 'report', '--out', file, ...flags]);
    browser = await Browser.start(PROGRAM ?? '');
  });

  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  it('loads nothing but itself and complains of nothing', async () => {
    const told: string[] = [];
    const page = await browser.open(file, { width: 1280, scheme: 'light' }, told);
    await page.close();
    expect(told).toEqual([`request file://${file}`]);
  });

  it('draws a line, a bar and a map for every policy, and a square for every GPU', async () => {
    const page = await browser.open(file, { width: 1280, scheme: 'light' }, []);
    for (const plot of ['allocation', 'fragmentation']) {
      expect(await count(page, `#t0-${plot} g > path.line:not(.legend path)`)).toBe(POLICIES.length);
      expect(await count(page, `#t0-${plot} .legend`)).toBe(POLICIES.length);
    }
    for (const plot of ['unallocated', 'fragmented']) {
      expect(await count(page, `#t0-${plot} rect.bar`)).toBe(POLICIES.length);
      expect(await count(page, `#t0-${plot} g.error`)).toBe(POLICIES.length);
    }
    expect(await count(page, '#t0-refused g.row')).toBe(POLICIES.length);
    for (const [at, policy] of POLICIES.entries()) {
      const squares = `all.map((each) => each.getAttribute('d').split('M').length - 1).reduce((a, b) => a + b)`;
      expect(await ofAll(page, `#t0-map${at} path.cell`, squares)).toBe(GPUS);
      const [description] = (await texts(page, `#t0-map${at} desc`)) as string[];
      expect(description).toContain(`${CLUSTER.length} nodes with ${GPUS} GPUs`);
      expect(await texts(page, `#t0-map${at}-t`)).toEqual([`Every GPU at the end: ${policy} on generated`]);
    }
    await page.close();
  });

  it('says in words and tables what the drawings show', async () => {
    const page = await browser.open(file, { width: 1280, scheme: 'light' }, []);
    expect(await count(page, 'svg')).toBe(5 + POLICIES.length);
    expect(await count(page, 'svg[role=img] > title:first-child + desc')).toBe(5 + POLICIES.length);
    const unnamed = `all.filter((each) =>
      each.getAttribute('aria-labelledby').split(' ').some((id) => !document.getElementById(id)))`;
    expect(await ofAll(page, 'svg', `${unnamed}.length`)).toBe(0);
    expect(await ofAll(page, '[id]', 'all.length - new Set(all.map((each) => each.id)).size')).toBe(0);
    await page.evaluate(OPEN_DETAILS);
    const rows = (await texts(page, 'th[scope=row]')) as string[];
    const columns = (await texts(page, 'th[scope=col]')) as string[];
    for (const policy of POLICIES) {
      // At the end, refused by reason, GPUs by level; and a column of each of the two curves.
      expect(rows.filter((text) => text === policy)).toHaveLength(3);
      expect(columns.filter((text) => text === policy)).toHaveLength(2);
    }
    await page.close();
  });

  it.each([
    [1280, 'light'],
    [1280, 'dark'],
    [390, 'light'],
    [320, 'dark'],
  ] as const)('keeps everything inside a window of %i pixels, %s', async (width, scheme) => {
    const page = await browser.open(file, { width, scheme }, []);
    await page.evaluate(OPEN_DETAILS);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    expect(await ofAll(page, 'svg text', OUTSIDE)).toEqual([]);
    await page.close();
  });

  it('keeps long names inside, too', async () => {
    const mean = { mean: 50, deviation: 1 };
    const curve = [0, 100].map((arrivedPercent) => ({
      ...{ arrivedPercent, allocationPercent: 0, fragmentationPercent: 0, fragmentationRatioPercent: 0 },
    }));
    const comparisons = ['fragmentation', 'a-long-name-'.repeat(8)].map((policy) => ({
      ...{
        trace: 'a-long-name-'.repeat(8),
        policy,
        seeds: [1],
        allocation: mean,
        fragmentation: mean,
        refused: 1,
        curve,
      },
      refusedBy: { unseen: 1, memory: 1, cpu: 1, split: 1, full: 1, never: 1 },
    }));
    const results = folder.file('long.json', JSON.stringify({ driver: { kind: 'scheduler' }, comparisons }));
    const long = folder.free('long.html');
    await promisify(execFile)(process.execPath, [MAIN, 'report', '--out', long, results]);
    const page = await browser.open(long, { width: 390, scheme: 'light' }, []);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    expect(await ofAll(page, 'svg text', OUTSIDE)).toEqual([]);
    expect(await texts(page, '#t0-unallocated .row text:first-child')).toContain('fragmentation (scheduler)');
    await page.close();
  });

  it.each(['light', 'dark'] as const)('can be read: text stands out from its background, %s', async (scheme) => {
    const page = await browser.open(file, { width: 1280, scheme }, []);
    const contrast = `(() => {
      const style = (element) => getComputedStyle(element);
      const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      const card = style(document.querySelector('figure')).backgroundColor;
      const text = [...document.querySelectorAll('svg text, figcaption')].map((each) =>
        ratio(each.tagName === 'text' ? style(each).fill : style(each).color, card));
      const lines = [...document.querySelectorAll('path.line')].map((each) => ratio(style(each).stroke, card));
      return [Math.min(...text), Math.min(...lines)];
    })()`;
    const [text = 0, lines = 0] = (await page.evaluate(contrast)) as number[];
    expect(text).toBeGreaterThan(4.5);
    expect(lines).toBeGreaterThan(3);
    await page.close();
  });

  it('prints on a few pages, dark or light', async () => {
    for (const scheme of ['light', 'dark'] as const) {
      const page = await browser.open(file, { width: 1280, scheme }, []);
      const pdf = (await page.pdf({ format: 'A4', printBackground: true })).toString('latin1');
      const pages = pdf.match(/\/Type\s*\/Page\b/g)?.length ?? 0;
      expect(pages).toBeGreaterThanOrEqual(2);
      expect(pages).toBeLessThanOrEqual(5);
      await page.emulateMedia({ media: 'print', colorScheme: scheme });
      expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
      expect(await page.evaluate('getComputedStyle(document.body).color')).toBe('rgb(0, 0, 0)');
      await page.close();
    }
  });
});
