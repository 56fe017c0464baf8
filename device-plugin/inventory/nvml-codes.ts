// NVML return codes by name, and what each means for us. Pure. An unknown code is an error like any other.

const NAMES: Readonly<Record<number, string | undefined>> = {
  0: 'SUCCESS',
  1: 'UNINITIALIZED',
  2: 'INVALID_ARGUMENT',
  3: 'NOT_SUPPORTED',
  4: 'NO_PERMISSION',
  5: 'ALREADY_INITIALIZED',
  6: 'NOT_FOUND',
  7: 'INSUFFICIENT_SIZE',
  8: 'INSUFFICIENT_POWER',
  9: 'DRIVER_NOT_LOADED',
  10: 'TIMEOUT',
  11: 'IRQ_ISSUE',
  12: 'LIBRARY_NOT_FOUND',
  13: 'FUNCTION_NOT_FOUND',
  14: 'CORRUPTED_INFOROM',
  15: 'GPU_IS_LOST',
  16: 'RESET_REQUIRED',
  17: 'OPERATING_SYSTEM',
  18: 'LIB_RM_VERSION_MISMATCH',
  19: 'IN_USE',
  20: 'MEMORY',
  21: 'NO_DATA',
  22: 'VGPU_ECC_NOT_SUPPORTED',
  23: 'INSUFFICIENT_RESOURCES',
  24: 'FREQ_NOT_SUPPORTED',
  25: 'ARGUMENT_VERSION_MISMATCH',
  26: 'DEPRECATED',
  27: 'NOT_READY',
  28: 'GPU_NOT_FOUND',
  29: 'INVALID_STATE',
  30: 'RESET_TYPE_NOT_SUPPORTED',
  999: 'UNKNOWN',
};

const ADVICE: Readonly<Record<string, string | undefined>> = {
  DRIVER_NOT_LOADED: 'load the NVIDIA driver on this node',
  LIB_RM_VERSION_MISMATCH: 'the driver was replaced under this library; restart the agent, or reboot the node',
  NO_PERMISSION: 'run the agent with access to the NVIDIA devices',
  GPU_IS_LOST: 'the GPU has fallen off the bus; reboot the node or reset the GPU',
  RESET_REQUIRED: 'reset the GPU with nvidia-smi --gpu-reset once nothing uses it',
  INSUFFICIENT_POWER: 'attach the external power cables of the GPU',
  IRQ_ISSUE: 'the kernel found an interrupt problem with the GPU; see the kernel log',
  CORRUPTED_INFOROM: 'the GPU lost its own configuration; have it serviced',
};

export const NVML_SUCCESS = 0;

/** `GPU_IS_LOST` for 15; `code 1234` for what no header names. */
export function nvmlCodeName(code: number): string {
  return NAMES[code] ?? `code ${code}`;
}

export class NvmlError extends Error {
  /** Name without the `NVML_ERROR_` in front. */
  readonly code: string;

  constructor(call: string, code: number) {
    const name = nvmlCodeName(code);
    const advice = ADVICE[name];
    super(`${call} answered ${name}${advice === undefined ? '' : `: ${advice}`}`);
    this.name = 'NvmlError';
    this.code = name;
  }
}

/** The GPU or driver has nothing to tell here, which is no fault of the GPU. */
export function isAbsence(error: NvmlError): boolean {
  return ABSENT.has(error.code);
}

const ABSENT: ReadonlySet<string> = new Set([
  'NOT_SUPPORTED',
  'NO_PERMISSION',
  'NOT_FOUND',
  'FUNCTION_NOT_FOUND',
  'NO_DATA',
  'VGPU_ECC_NOT_SUPPORTED',
  'ARGUMENT_VERSION_MISMATCH',
  'DEPRECATED',
  'NOT_READY',
  'INVALID_ARGUMENT',
  'INVALID_STATE',
]);
