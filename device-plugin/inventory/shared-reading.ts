// One reading at a time: callers that come while one is under way get the same promise, so a slow driver is never
// asked twice at once.

export function sharedReading<T>(read: () => Promise<T>): () => Promise<T> {
  let pending: Promise<T> | undefined;
  return () => {
    pending ??= read().finally(() => {
      pending = undefined;
    });
    return pending;
  };
}
