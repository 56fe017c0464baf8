// libnvidia-ml.so.1 through koffi: symbols, argument types, calls. The only file that imports koffi, and the only one
// where a mistake can crash the process: every output goes into a buffer that the caller sized from nvml-structs.ts.
// Every call runs on a worker thread, never on the event loop. The library is never unloaded: a call may still be in it.

import { load } from 'koffi';

type Argument = 'handle' | 'uint' | 'ulong' | 'out';

export type NvmlFunction =
  | 'nvmlInit_v2'
  | 'nvmlShutdown'
  | 'nvmlSystemGetDriverVersion'
  | 'nvmlDeviceGetCount_v2'
  | 'nvmlDeviceGetHandleByIndex_v2'
  | 'nvmlDeviceGetUUID'
  | 'nvmlDeviceGetName'
  | 'nvmlDeviceGetMinorNumber'
  | 'nvmlDeviceGetMemoryInfo'
  | 'nvmlDeviceGetMemoryInfo_v2'
  | 'nvmlDeviceGetPciInfo_v3'
  | 'nvmlDeviceGetMigMode'
  | 'nvmlDeviceGetUtilizationRates'
  | 'nvmlDeviceGetTotalEccErrors'
  | 'nvmlDeviceGetComputeRunningProcesses_v3'
  | 'nvmlDeviceGetComputeRunningProcesses_v2'
  | 'nvmlDeviceGetComputeRunningProcesses'
  | 'nvmlDeviceGetMPSComputeRunningProcesses_v3'
  | 'nvmlDeviceGetNvLinkState'
  | 'nvmlDeviceGetNvLinkRemotePciInfo_v2'
  | 'nvmlDeviceGetNvLinkRemoteDeviceType'
  | 'nvmlDeviceGetTopologyCommonAncestor'
  | 'nvmlDeviceGetSupportedEventTypes'
  | 'nvmlDeviceRegisterEvents'
  | 'nvmlEventSetCreate'
  | 'nvmlEventSetWait_v2'
  | 'nvmlEventSetFree';

/** Each function with its arguments. All answer an `nvmlReturn_t`. */
const FUNCTIONS: Readonly<Record<NvmlFunction, readonly Argument[]>> = {
  nvmlInit_v2: [],
  nvmlShutdown: [],
  nvmlSystemGetDriverVersion: ['out', 'uint'],
  nvmlDeviceGetCount_v2: ['out'],
  nvmlDeviceGetHandleByIndex_v2: ['uint', 'out'],
  nvmlDeviceGetUUID: ['handle', 'out', 'uint'],
  nvmlDeviceGetName: ['handle', 'out', 'uint'],
  nvmlDeviceGetMinorNumber: ['handle', 'out'],
  nvmlDeviceGetMemoryInfo: ['handle', 'out'],
  nvmlDeviceGetMemoryInfo_v2: ['handle', 'out'],
  nvmlDeviceGetPciInfo_v3: ['handle', 'out'],
  nvmlDeviceGetMigMode: ['handle', 'out', 'out'],
  nvmlDeviceGetUtilizationRates: ['handle', 'out'],
  nvmlDeviceGetTotalEccErrors: ['handle', 'uint', 'uint', 'out'],
  nvmlDeviceGetComputeRunningProcesses_v3: ['handle', 'out', 'out'],
  nvmlDeviceGetComputeRunningProcesses_v2: ['handle', 'out', 'out'],
  nvmlDeviceGetComputeRunningProcesses: ['handle', 'out', 'out'],
  nvmlDeviceGetMPSComputeRunningProcesses_v3: ['handle', 'out', 'out'],
  nvmlDeviceGetNvLinkState: ['handle', 'uint', 'out'],
  nvmlDeviceGetNvLinkRemotePciInfo_v2: ['handle', 'uint', 'out'],
  nvmlDeviceGetNvLinkRemoteDeviceType: ['handle', 'uint', 'out'],
  nvmlDeviceGetTopologyCommonAncestor: ['handle', 'handle', 'out'],
  nvmlDeviceGetSupportedEventTypes: ['handle', 'out'],
  nvmlDeviceRegisterEvents: ['handle', 'ulong', 'handle'],
  nvmlEventSetCreate: ['out'],
  nvmlEventSetWait_v2: ['handle', 'out', 'uint'],
  nvmlEventSetFree: ['handle'],
};

export type NvmlArgument = bigint | number | Buffer;

const TYPES: Readonly<Record<Argument, string>> = { handle: 'uintptr', uint: 'uint32', ulong: 'uint64', out: 'void *' };
const FUNCTION_NOT_FOUND = 13;

type AsyncCall = (...args: readonly unknown[]) => void;

export interface NvmlLibrary {
  readonly path: string;
  has(name: NvmlFunction): boolean;
  /**
   * The function's return code; FUNCTION_NOT_FOUND where this driver lacks it. Buffers are written until the promise
   * settles.
   */
  call(name: NvmlFunction, ...args: readonly NvmlArgument[]): Promise<number>;
}

/** Throws where there is no such library. */
export function loadNvml(path: string): NvmlLibrary {
  const handle = load(path, { lazy: true });
  const bound = new Map<NvmlFunction, AsyncCall>();
  for (const name of namesOfFunctions()) {
    const found = bind(() =>
      handle.func(
        name,
        'int32',
        FUNCTIONS[name].map((argument) => TYPES[argument]),
      ),
    );
    if (found !== undefined) bound.set(name, found);
  }
  return {
    path,
    has: (name) => bound.has(name),
    call: (name, ...args) => invoke(name, bound.get(name), args),
  };
}

function namesOfFunctions(): readonly NvmlFunction[] {
  return Object.keys(FUNCTIONS) as NvmlFunction[];
}

/** koffi throws for a symbol that the library does not have; older drivers lack the newer ones. */
function bind(find: () => { readonly async: AsyncCall }): AsyncCall | undefined {
  try {
    const found = find();
    return found.async.bind(found);
  } catch (error) {
    if (error instanceof Error && /Cannot find function/i.test(error.message)) return undefined;
    throw error;
  }
}

function invoke(name: NvmlFunction, run: AsyncCall | undefined, args: readonly NvmlArgument[]): Promise<number> {
  if (run === undefined) return Promise.resolve(FUNCTION_NOT_FOUND);
  if (args.length !== FUNCTIONS[name].length) throw new TypeError(`${name} takes ${FUNCTIONS[name].length} arguments`);
  return new Promise((resolve, reject) => {
    run(...args, (error: unknown, code: unknown) => {
      // The closure keeps the buffers alive while native code may write to them.
      if (args.length >= 0 && typeof code === 'number') resolve(code);
      else reject(error instanceof Error ? error : new Error(`${name} gave no return code`));
    });
  });
}
