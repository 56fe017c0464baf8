// The DevicePlugin service of one resource: checks what the kubelet sends, calls the owner's handlers against their
// deadlines and turns failures into gRPC errors. Must never answer a failure with a success, and must never let
// GetPreferredAllocation fail: the kubelet leaks device ids when it does. Calls run concurrently.

import { status } from '@grpc/grpc-js';
import type { sendUnaryData, ServerUnaryCall, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { DevicePluginApi } from '../proto/services.ts';
import type {
  AllocateRequest,
  AllocateResponse,
  ContainerPreferredAllocationRequest,
  DevicePluginOptions,
  Empty,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
  PreStartContainerRequest,
} from '../proto/types.ts';
import type { KubeletClock } from './clock.ts';
import { DeadlineError, withDeadline } from './deadline.ts';
import { MAX_DEVICE_ID_LENGTH } from './device-list.ts';
import type { DeviceStreams, ListStream } from './device-streams.ts';
import { messageOf } from './events.ts';
import type { DeviceCall, ReportEvent } from './events.ts';
import { allocationMessage, completedPreference } from './handlers.ts';
import type { CallContext, PluginHandlers, PreferredQuestion } from './handlers.ts';

export const ALLOCATE_LIMIT_MILLIS = 2_000;
/** All admissions on the node wait for what is only a hint. */
export const PREFER_LIMIT_MILLIS = 1_000;
/** The kubelet itself gives up after 30 s. */
export const PRE_START_LIMIT_MILLIS = 25_000;
const MAX_CONTAINERS = 64;
/** More than a list of the shortest ids can announce. */
const MAX_IDS = 200_000;
const MAX_ERROR_TEXT = 1_000;
const UNNAMED = 'the handler, which named nothing';

export interface PluginServiceOptions {
  readonly resourceName: string;
  readonly deviceOptions: DevicePluginOptions;
  readonly handlers: PluginHandlers;
  readonly streams: DeviceStreams;
  readonly clock: KubeletClock;
  readonly report: ReportEvent;
}

export interface PluginService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** What the kubelet sent cannot be a request of a kubelet. */
class InvalidRequestError extends Error {}

export function pluginService(api: DevicePluginApi, options: PluginServiceOptions): PluginService {
  const calls = new DeviceCalls(options);
  const { devicePlugin } = api;
  return {
    definition: { ...devicePlugin, ListAndWatch: { ...devicePlugin.ListAndWatch, responseSerialize: asIs } },
    implementation: {
      GetDevicePluginOptions: (
        _call: ServerUnaryCall<Empty, DevicePluginOptions>,
        answer: Answer<DevicePluginOptions>,
      ) => {
        answer(null, options.deviceOptions);
      },
      ListAndWatch: (stream: ListStream) => {
        options.streams.add(stream);
      },
      GetPreferredAllocation: calls.getPreferredAllocation,
      Allocate: calls.allocate,
      PreStartContainer: calls.preStartContainer,
    },
  };
}

type Answer<T> = sendUnaryData<T>;

function asIs(encoded: Buffer): Buffer {
  return encoded;
}

class DeviceCalls {
  readonly #options: PluginServiceOptions;

  constructor(options: PluginServiceOptions) {
    this.#options = options;
  }

  readonly getPreferredAllocation = (
    call: ServerUnaryCall<PreferredAllocationRequest, PreferredAllocationResponse>,
    answer: Answer<PreferredAllocationResponse>,
  ): void => {
    const controller = new AbortController();
    call.on('cancelled', () => {
      controller.abort();
    });
    const requests = call.request.container_requests;
    const answers = requests.map((request, at) =>
      at < MAX_CONTAINERS ? this.#prefer(request, controller) : Promise.resolve(plainPreference(questionOf(request))),
    );
    void Promise.all(answers).then((lists) =>
      answer(null, { container_responses: lists.map((deviceIDs) => ({ deviceIDs })) }),
    );
  };

  /** Never rejects: where the owner of the devices fails or takes too long, any available ids are as good. */
  async #prefer(request: ContainerPreferredAllocationRequest, controller: AbortController): Promise<string[]> {
    const { clock, handlers, report, resourceName } = this.#options;
    const start = clock.monotonicMillis();
    const question = questionOf(request);
    const what = `GetPreferredAllocation of ${question.size} devices of ${resourceName}`;
    const deadline = { clock, limitMillis: PREFER_LIMIT_MILLIS, what, waitsFor: UNNAMED, controller };
    try {
      checkIds(question.available, 0);
      checkIds(question.mustInclude, 0);
      const preferred = await withDeadline(deadline, async (context) => await handlers.prefer(question, context));
      return completedPreference(question, preferred);
    } catch (error) {
      const tookMillis = clock.monotonicMillis() - start;
      report({ kind: 'call-failed', call: 'GetPreferredAllocation', message: messageOf(error), tookMillis });
      return plainPreference(question);
    }
  }

  readonly allocate = (
    call: ServerUnaryCall<AllocateRequest, AllocateResponse>,
    answer: Answer<AllocateResponse>,
  ): void => {
    const requests = call.request.container_requests;
    const ids = requests.flatMap(({ devices_ids }) => devices_ids);
    this.#serve(call, answer, { name: 'Allocate', ids, limitMillis: ALLOCATE_LIMIT_MILLIS }, async (context) => {
      if (requests.length > MAX_CONTAINERS) {
        throw new InvalidRequestError(
          `${requests.length} containers in one request; at most ${MAX_CONTAINERS} are taken`,
        );
      }
      for (const { devices_ids } of requests) checkIds(devices_ids, 1);
      const container_responses = [];
      for (const { devices_ids } of requests) {
        container_responses.push(allocationMessage(await this.#options.handlers.allocate(devices_ids, context)));
      }
      return { container_responses };
    });
  };

  readonly preStartContainer = (
    call: ServerUnaryCall<PreStartContainerRequest, Empty>,
    answer: Answer<Empty>,
  ): void => {
    const ids = call.request.devices_ids;
    this.#serve(
      call,
      answer,
      { name: 'PreStartContainer', ids, limitMillis: PRE_START_LIMIT_MILLIS },
      async (context) => {
        checkIds(ids, 1);
        await this.#options.handlers.preStart(ids, context);
        return {};
      },
    );
  };

  #serve<Request, Response>(
    call: ServerUnaryCall<Request, Response>,
    answer: Answer<Response>,
    { name, ids, limitMillis }: { name: DeviceCall; ids: readonly string[]; limitMillis: number },
    run: (context: CallContext) => Promise<Response>,
  ): void {
    const { clock, report, resourceName } = this.#options;
    const start = clock.monotonicMillis();
    const controller = new AbortController();
    call.on('cancelled', () => {
      controller.abort();
    });
    const what = `${name} of ${describeIds(ids)} of ${resourceName}`;
    const served = (response: Response): void => {
      report({ kind: 'call-served', call: name, ids: ids.length, tookMillis: clock.monotonicMillis() - start });
      answer(null, response);
    };
    const failed = (error: unknown): void => {
      const message = messageOf(error);
      report({ kind: 'call-failed', call: name, message, tookMillis: clock.monotonicMillis() - start });
      answer({ code: codeOf(error), details: message.slice(0, MAX_ERROR_TEXT) });
    };
    void withDeadline({ clock, limitMillis, what, waitsFor: UNNAMED, controller }, run).then(served, failed);
  }
}

function questionOf(request: ContainerPreferredAllocationRequest): PreferredQuestion {
  const { available_deviceIDs: available, must_include_deviceIDs: mustInclude, allocation_size: size } = request;
  return { available, mustInclude, size };
}

function plainPreference(question: PreferredQuestion): string[] {
  return completedPreference(question, []);
}

function codeOf(error: unknown): status {
  if (error instanceof InvalidRequestError) return status.INVALID_ARGUMENT;
  return error instanceof DeadlineError ? status.DEADLINE_EXCEEDED : status.FAILED_PRECONDITION;
}

function checkIds(ids: readonly string[], atLeast: number): void {
  if (ids.length < atLeast) throw new InvalidRequestError('the kubelet asked for a container with no device ids');
  if (ids.length > MAX_IDS)
    throw new InvalidRequestError(`${ids.length} device ids in one request; at most ${MAX_IDS} are taken`);
  const bad = ids.find((id) => id === '' || id.length > MAX_DEVICE_ID_LENGTH);
  if (bad !== undefined) {
    throw new InvalidRequestError(
      `device id "${bad.slice(0, MAX_DEVICE_ID_LENGTH)}" has ${bad.length} characters; 1 to ${MAX_DEVICE_ID_LENGTH} are allowed`,
    );
  }
  if (new Set(ids).size !== ids.length) throw new InvalidRequestError('a device id appears twice in one container');
}

function describeIds(ids: readonly string[]): string {
  const [first] = ids;
  if (first === undefined) return 'no devices';
  const shown = first.slice(0, MAX_DEVICE_ID_LENGTH);
  return ids.length === 1 ? `device ${shown}` : `${ids.length} devices (${shown}, …)`;
}
