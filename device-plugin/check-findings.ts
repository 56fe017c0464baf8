// What the facts of a node mean for the agent, in words. Pure.

import { messageOf } from '../extender/kube/kube-api.ts';
import type { CdiSupport } from './cdi-support.ts';
import type { AgentConfig } from './config.ts';
import type { HealthVerdict } from './health/state.ts';
import { coreDevices, largerUnit, memoryDevices } from './inventory/devices.ts';
import type { InventoryReading } from './inventory/source.ts';
import { NO_RESERVE, toInventory } from './inventory/to-inventory.ts';
import { checkDeviceList, listAndWatchBytes } from './kubelet/device-list.ts';
import { howToMend } from './mps/limit-keeper.ts';
import type { MpsReach } from './ports.ts';

export interface CheckFinding {
  /** `note`: the agent starts, but a person should know. */
  readonly state: 'ok' | 'note' | 'stops';
  readonly subject: string;
  /** One entry a line, or several lines in one entry. */
  readonly said: readonly string[];
}

export type GpuFacts =
  | { readonly kind: 'read'; readonly reading: InventoryReading; readonly passedOver: readonly string[] }
  | { readonly kind: 'none'; readonly why: string };

export type FolderFacts = { readonly kind: 'writable' | 'readonly' | 'missing' | 'denied' | 'not-a-folder' };

export type SocketFacts = { readonly kind: 'answers' | 'silent' | 'missing' | 'denied' };

const NO_GPU_ADVICE = [
  'Is there an NVIDIA GPU in this machine, and does nvidia-smi list it? In a container the NVIDIA runtime must inject the',
  'driver: runtimeClassName nvidia or nvidia as the default runtime, NVIDIA_VISIBLE_DEVICES=all and',
  'NVIDIA_DRIVER_CAPABILITIES=utility. To try the agent without a GPU: --inventory file:gpus.yaml',
].join('\n');

export function gpuFindings(facts: GpuFacts, config: AgentConfig): readonly CheckFinding[] {
  if (facts.kind === 'none') return [{ state: 'stops', subject: 'GPUs', said: [facts.why, NO_GPU_ADVICE] }];
  const { reading, passedOver } = facts;
  const passed = passedOver.map((why): CheckFinding => ({ state: 'note', subject: 'passed over', said: [why] }));
  const driver = reading.driverVersion === undefined ? '' : `, driver ${reading.driverVersion}`;
  const found = `${reading.gpus.length} found by ${reading.source}${driver}`;
  if (reading.gpus.length === 0) {
    return [...passed, { state: 'stops', subject: 'GPUs', said: [found, NO_GPU_ADVICE] }];
  }
  const lines = reading.gpus.map((gpu) =>
    gpu.kind === 'readable'
      ? `${gpu.index}  ${gpu.uuid}  ${gpu.model}, ${gpu.memoryMiB} MiB, NUMA node ${gpu.numa < 0 ? 'unknown' : gpu.numa}`
      : `${gpu.index}  ${gpu.uuid ?? 'unknown'}  cannot be read: ${gpu.why}`,
  );
  const readable = reading.gpus.some(({ kind }) => kind === 'readable');
  return [
    ...passed,
    { state: readable ? 'ok' : 'stops', subject: 'GPUs', said: [found, ...lines] },
    ...sliceFindings(reading, config),
  ];
}

/** A GPU that was read is healthy as far as one look can tell. */
const SEEN: HealthVerdict = { health: 'healthy', reason: '', overridden: false };

function sliceFindings(reading: InventoryReading, { unitMiB, isolation }: AgentConfig): readonly CheckFinding[] {
  const options = { unitMiB, isolation, reserve: NO_RESERVE };
  const { inventory, notes } = toInventory(reading, options, () => SEEN, undefined);
  const noted = notes.map(({ gpu, why }): CheckFinding => ({ state: 'note', subject: gpu, said: [why] }));
  const subject = 'slices';
  try {
    const devices = memoryDevices(inventory.gpus);
    checkDeviceList('the memory resource', devices);
    checkDeviceList('the compute resource', coreDevices(inventory.gpus));
    const kibibytes = Math.ceil(listAndWatchBytes(devices) / 1024);
    const said = `${devices.length} of ${unitMiB} MiB; the list takes ${kibibytes} KiB of the 4 MiB that the kubelet reads`;
    return [...noted, { state: devices.length === 0 ? 'stops' : 'ok', subject, said: [said] }];
  } catch (error) {
    const sizes = reading.gpus.flatMap((gpu) => (gpu.kind === 'readable' ? [gpu] : []));
    const proposal = largerUnit(sizes, unitMiB);
    const advice = proposal === undefined ? [] : [`use --unit-mib ${proposal} on all nodes`];
    return [...noted, { state: 'stops', subject, said: [messageOf(error), ...advice] }];
  }
}

export function folderFinding(subject: string, path: string, facts: FolderFacts, origin: string): CheckFinding {
  const stops = (said: string): CheckFinding => ({ state: 'stops', subject, said: [`${path} ${said}`] });
  switch (facts.kind) {
    case 'writable':
      return { state: 'ok', subject, said: [`${path} is there and can be written`] };
    case 'readonly':
      return stops('cannot be written; run as root, and mount it from the host without readOnly');
    case 'denied':
      return stops('may not be entered; run as root');
    case 'not-a-folder':
      return stops('is not a folder');
    case 'missing':
      return stops(`is not there: ${origin}; in a container, mount it from the host`);
  }
}

export function socketFinding(subject: string, path: string, facts: SocketFacts): CheckFinding {
  const stops = (said: string): CheckFinding => ({ state: 'stops', subject, said: [`${path} ${said}`] });
  switch (facts.kind) {
    case 'answers':
      return { state: 'ok', subject, said: [`${path} answers`] };
    case 'silent':
      return stops('is there, but nobody answers; is the kubelet running? (systemctl status kubelet)');
    case 'missing':
      return stops('is not there; is the kubelet running, and is its folder mounted into this container?');
    case 'denied':
      return stops('may not be opened; run as root');
  }
}

export function bindingFindings(
  { binding, cdiDir }: AgentConfig,
  support: CdiSupport,
  folder: FolderFacts,
): readonly CheckFinding[] {
  const subject = 'binding';
  if (binding === 'env') {
    const hint = support.kind === 'yes' ? `; ${support.why}, so --binding cdi would be exact` : '';
    return [{ state: hint === '' ? 'ok' : 'note', subject, said: [`env, as configured${hint}`] }];
  }
  if (binding === 'auto' && support.kind !== 'yes') {
    const hint = support.kind === 'unknown' ? '; if you know better, say --binding cdi' : '';
    return [{ state: 'note', subject, said: [`env: CDI is ${knownAs(support)}: ${support.why}${hint}`] }];
  }
  const state = support.kind === 'yes' ? 'ok' : support.kind === 'unknown' ? 'note' : 'stops';
  const chosen = binding === 'cdi' ? 'cdi, as configured' : 'cdi';
  return [{ state, subject, said: [`${chosen}: ${support.why}`] }, madeFolder('CDI folder', cdiDir, folder)];
}

function knownAs({ kind }: CdiSupport): string {
  return kind === 'unknown' ? 'not known to work' : 'not to be had';
}

/** Without it the agent works, but forgets what stood against a GPU when it restarts. */
export function stateFinding(path: string, facts: FolderFacts): CheckFinding {
  const finding = madeFolder('state folder', path, facts);
  if (finding.state !== 'stops') return finding;
  return { ...finding, state: 'note', said: [...finding.said, 'until then a restart forgets which GPUs were sick'] };
}

/** The agent makes the folder where it can, so a missing one does not stop it. */
function madeFolder(subject: string, path: string, facts: FolderFacts): CheckFinding {
  if (facts.kind !== 'missing') return folderFinding(subject, path, facts, '');
  const said = `${path} is not there yet and will be made; in a container, mount it from the host`;
  return { state: 'note', subject, said: [said] };
}

/** Without its daemon the agent runs, but starts no container. */
export function mpsFindings(pipeDirectory: string, reach: MpsReach): readonly CheckFinding[] {
  const subject = 'MPS';
  if (reach.kind === 'reached')
    return [{ state: 'ok', subject, said: [`the control daemon listens in ${pipeDirectory}`] }];
  const meaning = 'no GPU container would start, because its limits would not be enforced';
  return [{ state: 'stops', subject, said: [reach.why, meaning, howToMend(pipeDirectory)] }];
}
