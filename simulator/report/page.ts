// The whole report as one HTML page: no script, no resource from anywhere, the same bytes for the same results.

import { element, joined, type Markup } from './markup.ts';
import { STYLE } from './style.ts';

/** Nothing may be loaded, not even by a name that slipped through. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'";

export function page(title: string, introduction: string, sections: readonly Markup[]): string {
  const head = element(
    'head',
    {},
    element('meta', { charset: 'utf-8' }),
    element('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
    element('meta', { 'http-equiv': 'Content-Security-Policy', content: POLICY }),
    element('title', {}, title),
    // Style is text of ours without markup in it; escaping would break its quotes.
    { html: `<style>${STYLE}</style>` },
  );
  const body = element(
    'body',
    {},
    element('header', {}, element('h1', {}, title), element('p', { class: 'soft' }, introduction)),
    element('main', {}, ...sections),
    element(
      'footer',
      {},
      'Made by gpuloom simulator report. Percent are of all GPUs unless it says otherwise; ± is the standard deviation over seeds.',
    ),
  );
  return `<!doctype html>\n${element('html', { lang: 'en' }, joined([head, '\n', body])).html}\n`;
}
