// A limit on how long we wait for something that cannot be cancelled (a call into a driver).

export class DeadlineError extends Error {
  constructor(what: string, millis: number) {
    super(`${what} did not answer within ${millis} ms; see the kernel log for driver faults`);
    this.name = 'DeadlineError';
  }
}

/** The promise's own outcome if it comes in time. The work goes on after a DeadlineError; nobody hears of its end. */
export function withDeadline<T>(work: Promise<T>, what: string, millis: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new DeadlineError(what, millis));
    }, millis);
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}
