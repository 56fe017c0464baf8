// A real browser for pages that we write, headless and cut off from every network. Tests that need it skip without it.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The parts of playwright-core that are used. Its own declarations need those of the DOM, which no code here runs in. */
interface Playwright {
  readonly chromium: { launchPersistentContext(profile: string, options: object): Promise<Context> };
}

interface Context {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

export interface Page {
  on(event: 'request', listener: (request: { url(): string }) => void): unknown;
  on(event: 'console', listener: (message: { text(): string }) => void): unknown;
  on(event: 'pageerror', listener: (error: Error) => void): unknown;
  setViewportSize(size: { readonly width: number; readonly height: number }): Promise<void>;
  emulateMedia(options: { readonly colorScheme: 'light' | 'dark'; readonly media?: 'print' }): Promise<void>;
  goto(address: string): Promise<unknown>;
  /** The value of a JavaScript expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  pdf(options: object): Promise<Buffer>;
  close(): Promise<void>;
}

const { chromium } = createRequire(import.meta.url)('playwright-core') as Playwright;
const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/opt/google/chrome/chrome',
];
const SWITCHES = [
  ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
];

/** `GPULOOM_CHROMIUM` names the program; by default it is where systems install it. Undefined where there is none. */
export function chromiumProgram(): string | undefined {
  const named = process.env['GPULOOM_CHROMIUM'];
  return (named === undefined ? PLACES : [named]).find((place) => existsSync(place));
}

export interface Look {
  readonly width: number;
  readonly scheme: 'light' | 'dark';
}

/** One browser with a profile of its own; `[Symbol.asyncDispose]` ends it and removes the profile. */
export class Browser {
  readonly #context: Context;
  readonly #profile: string;

  private constructor(context: Context, profile: string) {
    this.#context = context;
    this.#profile = profile;
  }

  static async start(program: string): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), 'browser-test-'));
    // Chromium refuses its sandbox to root.
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const options = { executablePath: program, headless: true, offline: true, args: [...SWITCHES, ...sandbox] };
    return new Browser(await chromium.launchPersistentContext(profile, options), profile);
  }

  /** A page that shows the file. `told` gets every request, console message and error. */
  async open(file: string, { width, scheme }: Look, told: string[]): Promise<Page> {
    const page = await this.#context.newPage();
    page.on('request', (request) => told.push(`request ${request.url()}`));
    page.on('console', (message) => told.push(`console ${message.text()}`));
    page.on('pageerror', (error) => told.push(`error ${error.message}`));
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(`file://${file}`);
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
    rmSync(this.#profile, { recursive: true, force: true });
  }
}
