// Writes answers about nodes as JSON, quoting the names from the bytes of the request. Equal, once parsed, to
// JSON.stringify of the same answer as objects.

import type { HostBytes } from '../app/host-bytes.ts';
import type { JudgedHosts, ScoredHosts } from '../app/judged-hosts.ts';
import { MAX_EXTENDER_SCORE } from '../core/ranking.ts';
import { FITS, isResolvable } from '../core/reasons.ts';
import type { Page } from './page.ts';

const COMMA = 0x2c;
const END_OF_OBJECT = 0x7d;
const DIGIT_ZERO = 0x30;

/** An ExtenderFilterResult. */
export function writeFilterResult(page: Page, judged: JudgedHosts, hosts: HostBytes): void {
  page.text('{"Nodes":null,"NodeNames":[');
  writeFitting(page, judged, hosts);
  page.text('],"FailedNodes":{');
  const texts = new ReasonBytes(judged);
  writeReasons(page, judged, hosts, texts, () => true);
  page.text('},"FailedAndUnresolvableNodes":{');
  writeReasons(page, judged, hosts, texts, (outcome) => !isResolvable(outcome));
  page.text('},"Error":""}');
}

/** Neighbours that fit are copied in one go, with the quotes and commas between them. */
function writeFitting(page: Page, { outcomes }: JudgedHosts, hosts: HostBytes): void {
  const { bytes, starts, ends, count } = hosts;
  let isEmpty = true;
  for (let each = 0; each < count; each++) {
    if (outcomes[each] !== FITS) continue;
    const first = each;
    while (each + 1 < count && outcomes[each + 1] === FITS) each++;
    page.copyLong(bytes, (starts[first] ?? 0) - 1, (ends[each] ?? 0) + 1);
    page.byte(COMMA);
    isEmpty = false;
  }
  if (!isEmpty) page.back();
}

function writeReasons(
  page: Page,
  { outcomes }: JudgedHosts,
  hosts: HostBytes,
  texts: ReasonBytes,
  isListed: (outcome: number) => boolean,
): void {
  const { bytes, starts, ends, count } = hosts;
  let isEmpty = true;
  for (let each = 0; each < count; each++) {
    const outcome = outcomes[each] ?? FITS;
    if (outcome === FITS || !isListed(outcome)) continue;
    page.copy(bytes, (starts[each] ?? 0) - 1, (ends[each] ?? 0) + 1);
    const text = texts.of(outcome, each);
    page.copy(text, 0, text.length);
    isEmpty = false;
  }
  if (!isEmpty) page.back();
}

/** Texts of reasons with the colon before and the comma after them, made once for each reason of an answer. */
class ReasonBytes {
  readonly #judged: JudgedHosts;
  readonly #known: (Buffer | undefined)[] = [];

  constructor(judged: JudgedHosts) {
    this.#judged = judged;
  }

  of(outcome: number, each: number): Buffer {
    const known = this.#known[outcome];
    if (known !== undefined) return known;
    const { texts, candidates } = this.#judged;
    const text = Buffer.from(`:${JSON.stringify(texts.of(outcome, candidates.nameAt(each)))},`);
    if (!texts.namesNode(outcome)) this.#known[outcome] = text;
    return text;
  }
}

const HOST_KEY: Buffer = Buffer.from('{"Host":');
const SCORE_KEY: Buffer = Buffer.from(',"Score":');

/** A HostPriorityList. */
export function writePriorities(page: Page, { scores }: ScoredHosts, hosts: HostBytes): void {
  const { bytes, starts, ends, count } = hosts;
  page.text('[');
  for (let each = 0; each < count; each++) {
    page.copy(HOST_KEY, 0, HOST_KEY.length);
    page.copy(bytes, (starts[each] ?? 0) - 1, (ends[each] ?? 0) + 1);
    page.copy(SCORE_KEY, 0, SCORE_KEY.length);
    writeScore(page, scores[each] ?? 0);
    page.byte(END_OF_OBJECT);
    page.byte(COMMA);
  }
  if (count > 0) page.back();
  page.text(']');
}

function writeScore(page: Page, score: number): void {
  if (score === MAX_EXTENDER_SCORE) page.byte(DIGIT_ZERO + 1);
  page.byte(DIGIT_ZERO + (score % MAX_EXTENDER_SCORE));
}
