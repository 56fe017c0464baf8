// What a log line may and may not contain.

import { describe, expect, it } from 'vitest';
import { createLogger, scrubText } from '../../extender/logging.ts';
import { recordingLog } from '../support/http-shell.ts';

describe('log lines', () => {
  it('are JSON with the level, the component and the fields, children included', () => {
    const { log, lines } = recordingLog();
    log.child({ verb: 'bind' }).info('Bound', { pod: 'default/a', durationMillis: 3 });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      component: 'test',
      msg: 'Bound',
      verb: 'bind',
      pod: 'default/a',
      durationMillis: 3,
    });
  });

  it('below the level cost nothing and write nothing', () => {
    const lines: string[] = [];
    const log = createLogger({
      level: 'warn',
      component: 't',
      destination: { write: (line) => void lines.push(line) },
    });
    log.info('quiet');
    expect([lines, log.enabled('info'), log.enabled('error')]).toEqual([[], false, true]);
  });

  it('carry an error with its cause and code', () => {
    const { log, lines } = recordingLog();
    const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    log.error('Failed', { error: new Error('bind failed', { cause }) });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      error: { type: 'Error', message: 'bind failed', cause: { message: 'refused', code: 'ECONNREFUSED' } },
    });
  });

  it('never show a credential, wherever it hides', () => {
    const { log, lines } = recordingLog();
    const jwt = `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzYSJ9.c2lnbmF0dXJl`;
    log.warn(`GET https://admin:hunter2@api failed with Bearer ${jwt}`, {
      headers: { Authorization: 'Basic aHVudGVyMg==', cookie: 'hunter2', accept: 'json' },
      detail: { nested: { token: 'hunter2' }, text: jwt },
      error: new Error(`token ${jwt} rejected`),
    });
    expect(lines[0]).not.toMatch(/hunter2|aHVudGVyMg|eyJ/);
    expect(lines[0]).toContain('"accept":"json"');
  });

  it('survive cycles, depth, big numbers and very long text', () => {
    const { log, lines } = recordingLog();
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    log.info('x'.repeat(100_000), { detail: cycle, generation: 1n, count: Number.NaN });
    expect(lines).toHaveLength(1);
    expect((lines[0] ?? '').length).toBeLessThan(20_000);
  });
});

it('text without credentials is left as it is', () => {
  expect(scrubText('pod default/basic-trainer bound to node-1: http://node-1:8080/report')).toBe(
    'pod default/basic-trainer bound to node-1: http://node-1:8080/report',
  );
});
