// One registered plugin as the fake kubelet sees it: a client of its socket and the devices that it last announced.
// A stream that ends leaves every device unhealthy, as in a kubelet. See fake-kubelet.ts.

import { Client, credentials } from '@grpc/grpc-js';
import type { ClientReadableStream, ClientUnaryCall, MethodDefinition, ServiceError } from '@grpc/grpc-js';
import type { DevicePluginService } from '../../device-plugin/proto/services.ts';
import type { DevicePluginOptions, Empty, ListAndWatchResponse } from '../../device-plugin/proto/types.ts';

const MESSAGE_LIMIT_BYTES = 4 * 2 ** 20;

export interface AnnouncedDevice {
  readonly id: string;
  readonly isHealthy: boolean;
  readonly numaNodes: readonly number[];
}

/** What a kubelet needs of a plugin, over a socket or in process. */
export interface KubeletEndpoint {
  readonly resourceName: string;
  readonly options: DevicePluginOptions;
  readonly devices: readonly AnnouncedDevice[];
  readonly healthyIds: readonly string[];
  call<Request, Response>(method: MethodDefinition<Request, Response>, request: Request): Promise<Response>;
  close(): void;
}

export class PluginEndpoint implements KubeletEndpoint {
  readonly resourceName: string;
  readonly socketPath: string;
  options: DevicePluginOptions;
  devices: readonly AnnouncedDevice[] = [];
  /** Lists received on this stream. */
  lists = 0;
  streamError: string | undefined;
  /** Told how long each call took. */
  onCall: ((path: string, tookMillis: number) => void) | undefined;
  readonly #methods: DevicePluginService;
  readonly #client: Client;
  readonly #calls = new Set<ClientUnaryCall>();
  #stream: ClientReadableStream<ListAndWatchResponse> | undefined;

  constructor(
    resourceName: string,
    socketPath: string,
    options: DevicePluginOptions,
    methods: DevicePluginService,
    authority: string,
  ) {
    this.resourceName = resourceName;
    this.socketPath = socketPath;
    this.options = options;
    this.#methods = methods;
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
      'grpc.default_authority': authority,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.max_receive_message_length': MESSAGE_LIMIT_BYTES,
    });
  }

  get healthyIds(): readonly string[] {
    return this.devices.filter(({ isHealthy }) => isHealthy).map(({ id }) => id);
  }

  listAndWatch(onChange: () => void): void {
    const { path, requestSerialize, responseDeserialize } = this.#methods.ListAndWatch;
    const request: Empty = {};
    const stream = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    this.#stream = stream;
    stream.on('data', ({ devices }: ListAndWatchResponse) => {
      this.lists += 1;
      this.devices = devices.map(({ ID, health, topology }) => ({
        id: ID,
        isHealthy: health === 'Healthy',
        numaNodes: topology?.nodes.map((node) => node.ID) ?? [],
      }));
      onChange();
    });
    const ended = (reason: string): void => {
      this.streamError ??= reason;
      this.devices = this.devices.map((device) => ({ ...device, isHealthy: false }));
      onChange();
    };
    stream.on('error', (error: ServiceError) => {
      ended(error.message);
    });
    stream.on('end', () => {
      ended('the plugin ended the stream');
    });
  }

  call<Request, Response>(method: MethodDefinition<Request, Response>, request: Request): Promise<Response> {
    const start = performance.now();
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        { deadline: Date.now() + 30_000 },
        (error, response) => {
          this.#calls.delete(call);
          this.onCall?.(method.path, performance.now() - start);
          if (error !== null) reject(error);
          else if (response === undefined) reject(new Error('an answer without content'));
          else resolve(response);
        },
      );
      this.#calls.add(call);
    });
  }

  close(): void {
    this.#stream?.cancel();
    for (const call of this.#calls) call.cancel();
    this.#client.close();
  }
}
