// npm run bench -- [agent|agent-memory|extender|latency|throughput|scheduler|simulator]: measurements, each beside a floor or a peer of the same run.

import { benchAgent } from './agent.ts';
import { benchAgentMemory } from './agent-rss.ts';
import { benchExtender } from './extender.ts';
import { benchRealScheduler } from './real-scheduler.ts';
import { benchSimulator } from './simulator.ts';
import { benchThroughput } from './throughput.ts';

const progress = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const benches: Readonly<Record<string, () => Promise<string>>> = {
  agent: async () => `${await benchAgentMemory(progress)}\n\n${await benchAgent(progress)}`,
  'agent-memory': () => benchAgentMemory(progress),
  extender: async () => `${await benchExtender(progress)}\n\n${await benchThroughput(progress)}`,
  latency: () => benchExtender(progress),
  scheduler: () => benchRealScheduler(progress),
  simulator: () => benchSimulator(progress),
  throughput: () => benchThroughput(progress),
};

const [name = 'extender'] = process.argv.slice(2);
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) {
  process.stderr.write(`unknown benchmark "${name}"; there are ${Object.keys(benches).join(', ')}\n`);
  process.exit(2);
}
process.stdout.write(`${await bench()}\n`);
