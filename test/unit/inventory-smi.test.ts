import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { parseSmiLog, parseTopology } from '../../device-plugin/inventory/smi-parse.ts';
import { numberAt, parseXml, textAt } from '../../device-plugin/inventory/smi-xml.ts';
import type { ReadableGpu } from '../../device-plugin/inventory/source.ts';
import { scene, sceneGpu, smiLog } from '../support/gpu-scene.ts';

const UUID = 'GPU-8f6d1b1e-aaaa-bbbb-cccc-0123456789ab';

/** One GPU as a driver of that generation writes it. */
function log(gpu: string): string {
  return `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v10.dtd">
<nvidia_smi_log>
	<timestamp>Tue Mar  2 10:00:00 2027</timestamp>
	<driver_version>390.87</driver_version>
	<attached_gpus>1</attached_gpus>
	<gpu id="00000000:04:00.0">${gpu}</gpu>
</nvidia_smi_log>`;
}

function only(text: string): ReadableGpu {
  const gpu = parseSmiLog(text)?.gpus[0];
  if (gpu?.kind !== 'readable') throw new Error(`not readable: ${JSON.stringify(gpu)}`);
  return gpu;
}

const PASCAL = `
		<product_name>Tesla P4</product_name>
		<uuid>${UUID}</uuid>
		<minor_number>2</minor_number>
		<pci><pci_bus_id>00000000:04:00.0</pci_bus_id></pci>
		<fb_memory_usage><total>7611 MiB</total><used>0 MiB</used><free>7611 MiB</free></fb_memory_usage>
		<utilization><gpu_util>0 %</gpu_util><memory_util>0 %</memory_util></utilization>
		<ecc_errors>
			<volatile>
				<single_bit><device_memory>1</device_memory><total>3</total></single_bit>
				<double_bit><device_memory>1</device_memory><total>2</total></double_bit>
			</volatile>
			<aggregate><single_bit><total>9</total></single_bit><double_bit><total>9</total></double_bit></aggregate>
		</ecc_errors>
		<processes>
			<process_info><pid>100</pid><type>C</type><process_name>a &amp; b</process_name><used_memory>10 MiB</used_memory></process_info>
			<process_info><pid>101</pid><type>G</type><used_memory>20 MiB</used_memory></process_info>
			<process_info><pid>102</pid><type>C+G</type><used_memory>N/A</used_memory></process_info>
			<process_info><pid>103</pid><type>M+C</type><used_memory>30 MiB</used_memory></process_info>
		</processes>`;

describe('the log of nvidia-smi', () => {
  it('of an old driver has its ECC counters in other places and no MIG', () => {
    const gpu = only(log(PASCAL));
    expect(gpu).toMatchObject({ uuid: UUID, minor: 2, memoryMiB: 7611, mig: 'unsupported', memoryUsedMiB: 0 });
    expect(gpu.ecc).toEqual({ corrected: 3, uncorrected: 2 });
    expect(gpu.smUtilisation).toEqual({ percent: 0, source: 'smi/gpu_util' });
  });

  it('lists compute processes and clients of MPS, and leaves out those that only draw', () => {
    expect(only(log(PASCAL)).processes).toEqual([
      { pid: 100, usedMemoryMiB: 10 },
      { pid: 102, usedMemoryMiB: undefined },
      { pid: 103, usedMemoryMiB: 30 },
    ]);
  });

  it('of a new driver splits uncorrected SRAM errors in two and says N/A for what it has not', () => {
    const gpu = only(
      log(`<product_name>NVIDIA RTX A5000</product_name><uuid>${UUID}</uuid><minor_number>1</minor_number>
        <mig_mode><current_mig>N/A</current_mig></mig_mode>
        <display_mode>Requested functionality has been deprecated</display_mode>
        <gpu_recovery_action>None</gpu_recovery_action>
        <gpu_reset_status><reset_required>Requested functionality has been deprecated</reset_required></gpu_reset_status>
        <fb_memory_usage><total>24564 MiB</total><reserved>450 MiB</reserved><used>22437 MiB</used></fb_memory_usage>
        <utilization><gpu_util>N/A</gpu_util><memory_util>N/A</memory_util></utilization>
        <ecc_errors><volatile><sram_correctable>1</sram_correctable><sram_uncorrectable_parity>2</sram_uncorrectable_parity>
          <sram_uncorrectable_secded>3</sram_uncorrectable_secded><dram_correctable>N/A</dram_correctable>
          <dram_uncorrectable>4</dram_uncorrectable></volatile></ecc_errors>
        <processes></processes>`),
    );
    expect(gpu.ecc).toEqual({ corrected: 1, uncorrected: 9 });
    expect([gpu.smUtilisation, gpu.memoryUtilisation]).toEqual([undefined, undefined]);
    expect([gpu.mig, gpu.processes]).toEqual(['unsupported', []]);
  });

  it('without ECC, processes or a bus address still gives the GPU', () => {
    const gpu = only(
      log(`<product_name>NVIDIA GeForce GTX 1660 Ti</product_name><uuid>${UUID}</uuid><minor_number>N/A</minor_number>
        <fb_memory_usage><total>5944 MiB</total><used>N/A</used></fb_memory_usage>
        <ecc_errors><volatile><single_bit><total>N/A</total></single_bit></volatile></ecc_errors>
        <processes>N/A</processes>`),
    );
    expect(gpu).toMatchObject({ minor: 0, pciBusId: '00000000:04:00.0', ecc: undefined, memoryUsedMiB: undefined });
    expect(gpu.processes).toBeUndefined();
  });

  it('ignores the memory of MIG devices, which comes before that of the GPU', () => {
    const gpu = only(
      log(`<product_name>NVIDIA A100</product_name><mig_mode><current_mig>Enabled</current_mig></mig_mode>
        <mig_devices><mig_device><index>0</index><fb_memory_usage><total>19968 MiB</total></fb_memory_usage></mig_device></mig_devices>
        <uuid>${UUID}</uuid><fb_memory_usage><total>81920 MiB</total></fb_memory_usage>`),
    );
    expect([gpu.memoryMiB, gpu.mig]).toEqual([81_920, 'enabled']);
  });

  it.each([
    ['is lost', '<uuid>GPU is lost</uuid>', /GPU is lost/],
    [
      'answers with an unknown error',
      `<uuid>${UUID}</uuid><fb_memory_usage><total>Unknown Error</total></fb_memory_usage>`,
      /Unknown Error/,
    ],
    ['requires a reset', PASCAL.replace('0 %', '[GPU requires reset]'), /GPU requires reset/],
    [
      'says that a reset is required',
      `${PASCAL}<gpu_reset_status><reset_required>Yes</reset_required></gpu_reset_status>`,
      /reset is required/,
    ],
    ['wants a reboot', `${PASCAL}<gpu_recovery_action>Reboot</gpu_recovery_action>`, /needs: Reboot/],
    ['has no UUID', '<product_name>NVIDIA T4</product_name>', /does not tell a usable UUID/],
    ['has no size', `<uuid>${UUID}</uuid>`, /does not tell its memory size/],
  ])('tells why a GPU that %s cannot be used', (_, gpu, why) => {
    const [reading] = parseSmiLog(log(gpu))?.gpus ?? [];
    expect(reading?.kind === 'unreadable' ? reading.why : '').toMatch(why);
  });

  it('names a GPU that nvidia-smi could not open and that is missing in the XML', () => {
    const text = `${smiLog(scene([sceneGpu(1)]))}Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.  Reboot the system to recover this GPU\n`;
    const gpus = parseSmiLog(text)?.gpus ?? [];
    expect(gpus.map(({ kind, pciBusId }) => [kind, pciBusId])).toEqual([
      ['readable', sceneGpu(1).busId],
      ['unreadable', '0000:3B:00.0'],
    ]);
  });

  it('is not what other output of nvidia-smi is taken for', () => {
    expect(
      parseSmiLog('NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'),
    ).toBeUndefined();
  });

  it('cut short anywhere gives the GPUs before the cut and never throws', () => {
    const whole = smiLog(scene([sceneGpu(0, { processes: [{ pid: 7, usedMemoryMiB: 9 }] }), sceneGpu(1)]));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length }), (length) => {
        const gpus = parseSmiLog(whole.slice(0, length))?.gpus ?? [];
        expect(gpus.length).toBeLessThanOrEqual(2);
        for (const gpu of gpus) if (gpu.kind === 'readable') expect(gpu.memoryMiB).toBeGreaterThan(0);
      }),
      { seed: 15 },
    );
  });
});

describe('the reader of XML', () => {
  it('reads attributes, entities, comments, empty elements and own text', () => {
    const root = parseXml(`<!-- c --><a x="1 &lt; 2" y='z'>t<b/><c>5 MiB</c>u</a>`);
    expect(root.children[0]).toMatchObject({ name: 'a', attributes: { x: '1 < 2', y: 'z' }, text: 'tu' });
    expect([numberAt(root, 'a', 'c'), textAt(root, 'a', 'b'), textAt(root, 'a', 'nope')]).toEqual([
      5,
      undefined,
      undefined,
    ]);
  });

  it('survives end tags without a beginning, and elements that never end', () => {
    expect(parseXml('</x><a><b>1</a></a><c>').children.map(({ name }) => name)).toEqual(['a', 'c']);
  });

  it('answers every text', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(fc.constantFrom('<a>', '</a>', '<b x="', '"/>', '&#99999999;', '<!--', 'gpu')),
        (text, parts) => {
          expect(parseXml(text + parts.join(''))).toBeDefined();
        },
      ),
      { seed: 16 },
    );
  });
});

describe('the topology of nvidia-smi', () => {
  const MATRIX = `\tGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity
GPU0\t X \tNV12\tPXB\tPIX\t0-31\t0
GPU1\tNV12\t X \tSYS\tNODE\t0-31\t0
GPU2\tPXB\tSYS\t X \tSYS\t32-63\t1
NIC0\tPIX\tNODE\tSYS\t X
`;

  it('weighs each pair once, NVLinks above paths over PCIe, and leaves out network cards', () => {
    const links = parseTopology(MATRIX, ['GPU-a', 'GPU-b', 'GPU-c']);
    expect(links.map(({ between, weight }) => [between.join(' '), weight])).toEqual([
      ['GPU-a GPU-b', 340],
      ['GPU-a GPU-c', 60],
      ['GPU-b GPU-c', 10],
    ]);
  });

  it('tells nothing of GPUs without a name, and nothing from other text', () => {
    expect(parseTopology(MATRIX, ['GPU-a', undefined, 'GPU-c'])).toHaveLength(1);
    expect(parseTopology('No devices were found', ['GPU-a'])).toEqual([]);
  });
});
