// A node's GPUs as a test wants them to be, and how each inventory source would be told: state of the NVML stand-in,
// output of nvidia-smi, inventory file. Pure text.

export interface SceneProcess {
  readonly pid: number;
  readonly usedMemoryMiB: number | undefined;
}

export interface SceneGpu {
  readonly uuid: string;
  readonly model: string;
  readonly memoryMiB: number;
  readonly usedMiB: number;
  readonly sm: number;
  readonly memoryUtil: number;
  readonly uncorrected: number;
  readonly mig: 'unsupported' | 'disabled' | 'enabled';
  readonly broken: boolean;
  readonly busId: string;
  readonly minor: number;
  readonly numa: number;
  readonly processes: readonly SceneProcess[];
}

export interface Scene {
  readonly driver: string;
  readonly gpus: readonly SceneGpu[];
  /** NVLinks between pairs of GPUs by position. All other pairs are connected across sockets. */
  readonly nvlinks: readonly (readonly [left: number, right: number, links: number])[];
}

export function sceneGpu(at: number, changes: Partial<SceneGpu> = {}): SceneGpu {
  return {
    uuid: `GPU-0000000${at}-1111-2222-3333-444444444444`,
    model: 'NVIDIA A100-SXM4-80GB',
    memoryMiB: 81_920,
    usedMiB: 1_024 * at,
    sm: 10 + at,
    memoryUtil: 5 + at,
    uncorrected: 0,
    mig: 'disabled',
    broken: false,
    busId: `00000000:${(0x3b + at).toString(16).toUpperCase()}:00.0`,
    minor: at,
    numa: at % 2,
    processes: [],
    ...changes,
  };
}

export function scene(gpus: readonly SceneGpu[], changes: Partial<Omit<Scene, 'gpus'>> = {}): Scene {
  return { driver: '550.54.15', gpus, nvlinks: [], ...changes };
}

const MIG_STATE = { unsupported: -1, disabled: 0, enabled: 1 } as const;
const GPU_IS_LOST = 15;

export interface NvmlExtras {
  /** Bits of the events each GPU supports; XID and double-bit ECC unless told. */
  readonly events?: number;
  /** GPUs (by position) whose calls hang until a state without them. */
  readonly hanging?: readonly number[];
  /** Instead of GPU_IS_LOST for broken GPUs. */
  readonly status?: number;
  readonly lines?: readonly string[];
}

/** The state file of the NVML stand-in. */
export function nvmlState({ driver, gpus, nvlinks }: Scene, extras: NvmlExtras = {}): string {
  const { events = 0xa, hanging = [], status = GPU_IS_LOST, lines = [] } = extras;
  const next = gpus.map(() => 0);
  const link = (from: number, to: number): string => {
    const number = next[from] ?? 0;
    next[from] = number + 1;
    return `nvlink ${from} ${number} ${gpus[to]?.busId ?? ''}`;
  };
  return [
    `driver ${driver}`,
    ...gpus.map((gpu, at) =>
      [
        `gpu ${gpu.uuid} ${gpu.model.replaceAll(' ', '_')} ${gpu.busId} ${gpu.minor} ${gpu.memoryMiB} ${gpu.usedMiB}`,
        `${MIG_STATE[gpu.mig]} ${gpu.sm} ${gpu.memoryUtil} 0 ${gpu.uncorrected} ${events}`,
        `${gpu.broken ? status : 0} ${hanging.includes(at) ? 1 : 0}`,
      ].join(' '),
    ),
    ...gpus.flatMap(({ processes }, at) =>
      processes.map(({ pid, usedMemoryMiB = -1 }) => `process ${at} ${pid} ${usedMemoryMiB} 0`),
    ),
    ...gpus.flatMap((_, left) => gpus.slice(left + 1).map((_, right) => `ancestor ${left} ${left + 1 + right} 50`)),
    ...nvlinks.flatMap(([left, right, links]) =>
      Array.from({ length: links }, () => [link(left, right), link(right, left)]).flat(),
    ),
    ...lines,
    '',
  ].join('\n');
}

const MIG_TEXT = { unsupported: 'N/A', disabled: 'Disabled', enabled: 'Enabled' } as const;

/** `nvidia-smi -q -x`, in the parts that matter and with some that do not. */
export function smiLog({ driver, gpus }: Scene): string {
  return `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
\t<timestamp>Fri Nov 20 10:00:00 2026</timestamp>
\t<driver_version>${driver}</driver_version>
\t<cuda_version>12.4</cuda_version>
\t<attached_gpus>${gpus.length}</attached_gpus>
${gpus.map(smiGpu).join('\n')}
</nvidia_smi_log>
`;
}

function smiGpu(gpu: SceneGpu): string {
  const told = (text: string): string => (gpu.broken ? 'GPU is lost' : text);
  const processes = gpu.processes.map(
    ({ pid, usedMemoryMiB }) => `\t\t\t<process_info>
\t\t\t\t<gpu_instance_id>N/A</gpu_instance_id>
\t\t\t\t<pid>${pid}</pid>
\t\t\t\t<type>C</type>
\t\t\t\t<process_name>python3 &lt;train&gt;</process_name>
\t\t\t\t<used_memory>${usedMemoryMiB === undefined ? 'N/A' : `${usedMemoryMiB} MiB`}</used_memory>
\t\t\t</process_info>`,
  );
  return `\t<gpu id="${gpu.busId}">
\t\t<product_name>${told(gpu.model)}</product_name>
\t\t<mig_mode>
\t\t\t<current_mig>${MIG_TEXT[gpu.mig]}</current_mig>
\t\t\t<pending_mig>${MIG_TEXT[gpu.mig]}</pending_mig>
\t\t</mig_mode>
\t\t<mig_devices>
\t\t\tNone
\t\t</mig_devices>
\t\t<uuid>${told(gpu.uuid)}</uuid>
\t\t<minor_number>${gpu.minor}</minor_number>
\t\t<pci>
\t\t\t<pci_bus_id>${gpu.busId}</pci_bus_id>
\t\t</pci>
\t\t<fan_speed>N/A</fan_speed>
\t\t<fb_memory_usage>
\t\t\t<total>${told(`${gpu.memoryMiB} MiB`)}</total>
\t\t\t<reserved>869 MiB</reserved>
\t\t\t<used>${told(`${gpu.usedMiB} MiB`)}</used>
\t\t</fb_memory_usage>
\t\t<utilization>
\t\t\t<gpu_util>${told(`${gpu.sm} %`)}</gpu_util>
\t\t\t<memory_util>${told(`${gpu.memoryUtil} %`)}</memory_util>
\t\t</utilization>
\t\t<ecc_errors>
\t\t\t<volatile>
\t\t\t\t<sram_correctable>0</sram_correctable>
\t\t\t\t<sram_uncorrectable>0</sram_uncorrectable>
\t\t\t\t<dram_correctable>0</dram_correctable>
\t\t\t\t<dram_uncorrectable>${gpu.uncorrected}</dram_uncorrectable>
\t\t\t</volatile>
\t\t</ecc_errors>
\t\t<processes>
${processes.join('\n')}
\t\t</processes>
\t</gpu>`;
}

/** `nvidia-smi topo -m`. */
export function smiTopology({ gpus, nvlinks }: Scene): string {
  const cell = (left: number, right: number): string => {
    if (left === right) return ' X ';
    const found = nvlinks.find(([a, b]) => (a === left && b === right) || (a === right && b === left));
    return found === undefined ? 'SYS' : `NV${found[2]}`;
  };
  const header = `\t\u001b[4m${gpus.map((_, at) => `GPU${at}`).join('\t')}\tCPU Affinity\tNUMA Affinity\u001b[0m`;
  const rows = gpus.map((_, left) => `GPU${left}\t${gpus.map((__, right) => cell(left, right)).join('\t')}\t0-31\t0`);
  return `${header}\n${rows.join('\n')}\n\nLegend:\n\n  X    = Self\n  SYS  = Connection traversing PCIe and SMP\n`;
}

/** An inventory file. */
export function inventoryFile({ driver, gpus, nvlinks }: Scene): string {
  const weights = (at: number): string =>
    nvlinks
      .filter(([left]) => left === at)
      .map(([, right, links]) => `${gpus[right]?.uuid ?? ''}: ${100 + links}`)
      .join(', ');
  const entries = gpus.map(
    (gpu, at) => `  - uuid: ${gpu.uuid}
    model: ${gpu.model}
    memoryMiB: ${gpu.memoryMiB}
    memoryUsedMiB: ${gpu.usedMiB}
    minor: ${gpu.minor}
    numa: ${gpu.numa}
    pciBusId: "${gpu.busId}"
    mig: ${gpu.mig}
    health: ${gpu.broken ? 'lost' : 'ok'}
    doubleBitErrors: ${gpu.uncorrected}
    utilisation: { sm: ${gpu.sm}, memory: ${gpu.memoryUtil} }
    links: { ${weights(at)} }
    processes: [${gpu.processes
      .map(({ pid, usedMemoryMiB }) => `{ pid: ${pid}, usedMemoryMiB: ${usedMemoryMiB ?? 'null'} }`)
      .join(', ')}]`,
  );
  return `driver: "${driver}"\ngpus:\n${entries.join('\n')}\n`;
}
