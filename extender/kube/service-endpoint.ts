// Points a Service without a selector at the leader, by keeping this pod the only address in the Endpoints object of the
// same name. A replica that does not lead writes nothing. Every write carries the resourceVersion of the read before it,
// so that a former leader's late write cannot undo its successor's. One loop; nothing here throws.

import type { Delays } from './delays.ts';
import { backoffMillis } from './delays.ts';
import { emptied, isOnlyAddress, namesAddress, newEndpoints, pointedAt, readEndpoints } from './endpoints-record.ts';
import type { EndpointAddress, EndpointsRecord } from './endpoints-record.ts';
import { apiPath, describeAnswer, messageOf } from './kube-api.ts';
import type { KubeAnswer, KubeApi } from './kube-api.ts';

export type { EndpointAddress } from './endpoints-record.ts';

export interface ServiceEndpointOptions {
  readonly api: KubeApi;
  readonly delays: Delays;
  readonly namespace: string;
  /** Name of the Service. */
  readonly service: string;
  readonly address: EndpointAddress;
  /** Whether this replica leads and has caught up. Asked again immediately before each write. */
  readonly mayPublish: () => boolean;
  /** How often a leader looks whether somebody else changed the object. */
  readonly checkEveryMillis?: number;
  readonly requestTimeoutMillis?: number;
  /** Told what the object said before. */
  readonly onPublished?: (before: readonly string[]) => void;
  readonly report?: (message: string) => void;
}

export interface ServiceEndpoint {
  /** Looks now instead of at the next check: this replica has just caught up. */
  wake(): void;
  /** Takes this pod's address out again if it is still there. Lasts a few request timeouts at most. */
  stop(): Promise<void>;
}

const CHECK_EVERY_MILLIS = 10_000;
const REQUEST_TIMEOUT_MILLIS = 3_000;
const RETRY_BASE_MILLIS = 200;
const WITHDRAWAL_ATTEMPTS = 3;

export function startServiceEndpoint(options: ServiceEndpointOptions): ServiceEndpoint {
  const loop = new PublishingLoop(options);
  const done = loop.run();
  return {
    wake: () => loop.wake(),
    stop: () => {
      loop.stop();
      return done;
    },
  };
}

/** `settled`: nothing is left to do before the next check. `overtaken`: somebody else wrote in between. */
type Turn = 'settled' | 'overtaken' | 'failed';

class PublishingLoop {
  readonly #options: ServiceEndpointOptions;
  readonly #checkEveryMillis: number;
  readonly #collection: string;
  readonly #object: string;
  #nap = new AbortController();
  #isStopping = false;
  /** Also true while the outcome of a write is unknown. */
  #hasWritten = false;

  constructor(options: ServiceEndpointOptions) {
    this.#options = options;
    this.#checkEveryMillis = options.checkEveryMillis ?? CHECK_EVERY_MILLIS;
    this.#collection = apiPath('v1', 'namespaces', options.namespace, 'endpoints');
    this.#object = apiPath('v1', 'namespaces', options.namespace, 'endpoints', options.service);
  }

  wake(): void {
    this.#nap.abort();
  }

  stop(): void {
    this.#isStopping = true;
    this.#nap.abort();
  }

  async run(): Promise<void> {
    const { delays } = this.#options;
    const retry = { baseMillis: RETRY_BASE_MILLIS, capMillis: this.#checkEveryMillis };
    let failures = 0;
    while (!this.#isStopping) {
      // Made before the turn, so that a wake during it is not lost.
      this.#nap = new AbortController();
      failures = (await this.#guarded(() => this.#turn())) === 'settled' ? 0 : failures + 1;
      const wait = failures === 0 ? this.#checkEveryMillis : backoffMillis(retry, failures - 1, () => delays.random());
      if (!this.#isStopping) await delays.sleep(wait, this.#nap.signal);
    }
    for (let attempt = 0; attempt < WITHDRAWAL_ATTEMPTS; attempt++) {
      if ((await this.#guarded(() => this.#withdraw())) !== 'overtaken') return;
    }
  }

  async #turn(): Promise<Turn> {
    const { address, namespace, service } = this.#options;
    if (!this.#options.mayPublish()) return 'settled';
    const record = await this.#read();
    if (record !== undefined && isOnlyAddress(record, address)) return 'settled';
    if (this.#isStopping || !this.#options.mayPublish()) return 'settled';
    this.#hasWritten = true;
    const answer =
      record === undefined
        ? await this.#request('POST', this.#collection, newEndpoints(namespace, service, address))
        : await this.#request('PUT', this.#object, pointedAt(record, address));
    const turn = this.#judge(answer, 'the Service could not be pointed at this replica');
    if (turn === 'settled') this.#options.onPublished?.(record?.addresses ?? []);
    return turn;
  }

  async #withdraw(): Promise<Turn> {
    if (!this.#hasWritten) return 'settled';
    const record = await this.#read();
    if (record === undefined || !namesAddress(record, this.#options.address)) return 'settled';
    const answer = await this.#request('PUT', this.#object, emptied(record));
    return this.#judge(answer, 'the Service could not be pointed away from this replica');
  }

  async #read(): Promise<EndpointsRecord | undefined> {
    const answer = await this.#request('GET', this.#object);
    if (answer.status === 404) return undefined;
    const record = answer.status === 200 ? readEndpoints(answer.body) : undefined;
    if (record === undefined) {
      throw new Error(`the Endpoints of the Service cannot be read: ${describeAnswer(answer)}`);
    }
    return record;
  }

  #judge(answer: KubeAnswer, trouble: string): Turn {
    if (answer.status === 200 || answer.status === 201) return 'settled';
    if (answer.status === 409) return 'overtaken';
    this.#report(`${trouble}: ${describeAnswer(answer)}`);
    return 'failed';
  }

  async #guarded(turn: () => Promise<Turn>): Promise<Turn> {
    try {
      return await turn();
    } catch (error) {
      this.#report(messageOf(error));
      return 'failed';
    }
  }

  #request(method: 'GET' | 'POST' | 'PUT', path: string, body?: unknown): Promise<KubeAnswer> {
    const timeoutMillis = this.#options.requestTimeoutMillis ?? REQUEST_TIMEOUT_MILLIS;
    return this.#options.api.request(method, path, { timeoutMillis, ...(body === undefined ? {} : { body }) });
  }

  #report(message: string): void {
    try {
      this.#options.report?.(`${this.#options.service}: ${message}`);
    } catch (error) {
      // Nobody is left to tell, and the Service must stay with the leader.
      void error;
    }
  }
}
