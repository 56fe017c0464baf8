// When the presence or absence of the MPS control daemon counts, in virtual time.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_MPS_WATCH, MpsWatch } from '../../device-plugin/mps/watch.ts';
import type { MpsReach } from '../../device-plugin/ports.ts';
import { ManualTimers } from '../support/manual-timers.ts';

const { lookEveryMillis, settleMillis } = DEFAULT_MPS_WATCH;

/** A daemon whose every look is scripted: `u` is up, `d` is down. */
class WatchedDaemon {
  readonly timers = new ManualTimers();
  /** What was settled, with the number of looks it took; `!` marks the first. */
  readonly settled: string[] = [];
  readonly watch: MpsWatch;
  looks = 0;
  #next: MpsReach = { kind: 'reached' };

  constructor() {
    this.watch = new MpsWatch({
      daemon: { look: () => Promise.resolve(this.#next) },
      policy: DEFAULT_MPS_WATCH,
      timers: this.timers,
      onSettled: ({ kind }, isFirst) =>
        this.settled.push(`${this.looks}:${kind === 'reached' ? 'up' : 'down'}${isFirst ? '!' : ''}`),
    });
  }

  async see(script: string): Promise<this> {
    for (const look of script) {
      this.#next = look === 'u' ? { kind: 'reached' } : { kind: 'unreached', why: 'gone' };
      this.looks++;
      if (this.looks === 1) await this.watch.start();
      else this.timers.advance(lookEveryMillis);
      await new Promise(setImmediate);
    }
    return this;
  }
}

describe('the watch over the MPS control daemon', () => {
  it.each<[string, string, readonly string[]]>([
    ['believes its first look that the daemon is up', 'u', ['1:up!']],
    ['believes its first look that it is down', 'd', ['1:down!']],
    ['overlooks a restart', 'uudddduuuu', ['1:up!']],
    ['overlooks one look after the other that fails now and then', 'ududududududududud', ['1:up!']],
    ['overlooks a daemon that comes up and dies again and again', 'duuuuduuuuduuuud', ['1:down!']],
    ['misses a daemon that is gone for ten seconds, once', 'uddddddddddd', ['1:up!', '7:down']],
    ['counts on it again when it has been back for as long', 'uddddddduuuuuuuuu', ['1:up!', '7:down', '14:up']],
  ])('%s', async (_, script, settled) => {
    const daemon = await new WatchedDaemon().see(script);
    expect(daemon.settled).toEqual(settled);
    expect(daemon.watch.isSettledUp).toBe(settled.at(-1)?.includes('up'));
  });

  it('tells the latest look at once', async () => {
    const daemon = new WatchedDaemon();
    expect([daemon.watch.latest, daemon.watch.isSettledUp]).toEqual([undefined, false]);
    await daemon.see('ud');
    expect([daemon.watch.latest?.kind, daemon.watch.isSettledUp]).toEqual(['unreached', true]);
  });

  it('never changes its mind unless every look of the last ten seconds said so', async () => {
    const looksToSettle = settleMillis / lookEveryMillis + 1;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom('u', 'd', 'uuuuuu', 'dddddd'), { maxLength: 20 }), async (parts) => {
        const script = parts.join('');
        const { settled } = await new WatchedDaemon().see(script);
        for (const change of settled.slice(1)) {
          const [at, kind] = change.split(':');
          const before = script.slice(Number(at) - looksToSettle, Number(at));
          expect(before).toBe((kind === 'up' ? 'u' : 'd').repeat(looksToSettle));
        }
      }),
      { seed: 5, numRuns: 100 },
    );
  });

  it('looks no more once it was stopped, also in the middle of a look', async () => {
    const daemon = await new WatchedDaemon().see('u');
    daemon.timers.advance(lookEveryMillis);
    daemon.watch.stop();
    await new Promise(setImmediate);
    expect(daemon.timers.pending).toBe(0);
  });
});
