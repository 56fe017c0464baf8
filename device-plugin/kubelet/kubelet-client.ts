// Unary gRPC calls over a unix socket, one short-lived or long-lived client at a time.
// Uses no shared connection pool: after a restart of the other side an old connection's backoff must not delay a call.

import { Client, credentials, status } from '@grpc/grpc-js';
import type { ClientOptions, MethodDefinition, ServiceError } from '@grpc/grpc-js';

/** A call that did not succeed. `code` is gRPC's. */
export class KubeletCallError extends Error {
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

const CLIENT_OPTIONS: ClientOptions = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.max_receive_message_length': 16 * 2 ** 20,
};

export function unixClient(socketPath: string): Client {
  return new Client(`unix:${socketPath}`, credentials.createInsecure(), CLIENT_OPTIONS);
}

export interface UnaryCallOptions {
  readonly timeoutMillis: number;
  readonly signal?: AbortSignal;
}

/** Rejects with a KubeletCallError. */
export function unaryCall<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
  { timeoutMillis, signal }: UnaryCallOptions,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const cancel = (): void => {
      call.cancel();
    };
    const settled = (error: ServiceError | null, response: Response | undefined): void => {
      signal?.removeEventListener('abort', cancel);
      if (error !== null)
        reject(new KubeletCallError(error.code, error.details === '' ? error.message : error.details));
      else if (response === undefined) reject(new KubeletCallError(status.INTERNAL, 'the answer has no content'));
      else resolve(response);
    };
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      { deadline: Date.now() + timeoutMillis },
      settled,
    );
    signal?.addEventListener('abort', cancel);
    if (signal?.aborted === true) cancel();
  });
}
