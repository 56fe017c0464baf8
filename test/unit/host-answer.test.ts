import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Candidates } from '../../extender/app/candidates.ts';
import { JudgedHosts, ScoredHosts } from '../../extender/app/judged-hosts.ts';
import { ReasonTexts } from '../../extender/app/reason-texts.ts';
import { REASON_COUNT } from '../../extender/core/reasons.ts';
import { ClusterState } from '../../extender/core/state.ts';
import { writeFilterResult, writePriorities } from '../../extender/http/host-answer.ts';
import { createHostReader } from '../../extender/http/host-request.ts';
import { Page } from '../../extender/http/page.ts';
import { pod } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

const hostNames = fc.uniqueArray(fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,40}$/), { maxLength: 60 });

/** Candidates whose names are bytes of a request. */
function candidatesOf(names: readonly string[]): Candidates {
  const request = createHostReader()(Buffer.from(JSON.stringify({ Pod: {}, NodeNames: names })));
  if (request === undefined) throw new Error('the request was not read in bytes');
  const candidates = new Candidates();
  candidates.read({ Hosts: request.hosts }, new ClusterState());
  return candidates;
}

/** What is on the page, as values. Written twice into a page that starts too small. */
function onPage(write: (page: Page) => void): unknown {
  const page = new Page(8);
  write(page);
  page.clear();
  write(page);
  return JSON.parse(page.content().toString());
}

describe('an answer written in bytes', () => {
  it.each(['gpuloom', 'gpushare'] as const)('is the filter result of the %s profile, for any outcome', (profile) => {
    const shape = new Bench([]).shape(pod({ name: 'p', slices: 3, count: 1 }));
    const texts = new ReasonTexts(profile).forShape(shape);
    const outcome = fc.oneof(fc.constant(0), fc.nat({ max: REASON_COUNT - 1 }));
    fc.assert(
      fc.property(hostNames, fc.array(outcome, { minLength: 60, maxLength: 60 }), (names, outcomes) => {
        const candidates = candidatesOf(names);
        const judged = new JudgedHosts(candidates, Uint8Array.from(outcomes), texts);
        const { hosts } = candidates;
        const written = onPage((page) => hosts && writeFilterResult(page, judged, hosts));
        expect(written).toEqual(JSON.parse(JSON.stringify(judged.toResult())));
      }),
      { seed: 4, numRuns: 300 },
    );
  });

  it('is the priority list, for any scores', () => {
    fc.assert(
      fc.property(hostNames, fc.array(fc.nat({ max: 10 }), { minLength: 60, maxLength: 60 }), (names, scores) => {
        const candidates = candidatesOf(names);
        const scored = new ScoredHosts(candidates, Uint8Array.from(scores));
        const { hosts } = candidates;
        expect(onPage((page) => hosts && writePriorities(page, scored, hosts))).toEqual(scored.toList());
        expect(scored.toList().map(({ Host }) => Host)).toEqual(names);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});
