// Lets a request be called off just before its first byte is written, however long it has waited for a connection: a
// process that was frozen in between must not act on what was true before. A request carries the
// question as its `opaque`.

import type { Dispatcher } from 'undici';

export class CalledOff extends Error {
  constructor() {
    super('the request was called off before anything was sent');
    this.name = 'CalledOff';
  }
}

export class LastQuestion {
  readonly isStillWanted: () => boolean;

  constructor(isStillWanted: () => boolean) {
    this.isStillWanted = isStillWanted;
  }
}

export const callOffUnwanted: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const question: unknown = 'opaque' in options ? options.opaque : undefined;
  if (question instanceof LastQuestion) {
    // A handler belongs to one request.
    const start = handler.onRequestStart?.bind(handler);
    handler.onRequestStart = (controller, context: unknown) => {
      start?.(controller, context);
      if (!question.isStillWanted()) controller.abort(new CalledOff());
    };
  }
  return dispatch(options, handler);
};
