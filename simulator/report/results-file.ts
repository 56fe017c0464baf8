// Results from files that `run --json`, `compare --json` and `bound --json` wrote. Every field that is used is checked, so
// that a wrong file ends in a message with its place; files of older versions may lack curves, reasons and occupancy.

import { readFileSync } from 'node:fs';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';

import type { TraceBounds } from '../bound/trace-bounds.ts';
import { compareWithPublished } from '../compare/summary.ts';
import type { CompareResult } from '../compare/task.ts';
import type { DriverSettings } from '../run/driver.ts';
import { parseOccupancy } from '../run/occupancy.ts';
import { TraceFault } from '../trace/fault.ts';
import {
  boundsFor,
  occupancyOf,
  policyReport,
  type PolicyReport,
  type ReportedComparison,
  type TraceReport,
} from './results.ts';

const ADVICE = 'give files that run --json, compare --json or bound --json wrote';

const name = Type.String({ minLength: 1, maxLength: 100 });
const percent = Type.Number({ minimum: 0, maximum: 1000 });
const count = Type.Number({ minimum: 0, maximum: 1e12 });
const seed = Type.Integer({ minimum: 0 });
const meanAndDeviation = Type.Object({ mean: percent, deviation: percent });
const curve = Type.Array(
  Type.Object({
    arrivedPercent: percent,
    allocationPercent: percent,
    fragmentationPercent: percent,
    fragmentationRatioPercent: percent,
  }),
  { maxItems: 2000 },
);
const refusedBy = Type.Object({ unseen: count, memory: count, cpu: count, split: count, full: count, never: count });
const driver = Type.Object({ kind: Type.Union([Type.Literal('direct'), Type.Literal('scheduler')]) });
const published = Type.Object({ allocation: meanAndDeviation, fragmentation: meanAndDeviation });
const bounds = Type.Object({
  noRefusalPercent: Type.Optional(percent),
  linearPercent: percent,
  allCpuOnlyPercent: Type.Optional(percent),
});

const runSchema = Type.Object({
  ...{ policy: name, trace: name, seed, refused: count, allocationPercent: percent, fragmentationPercent: percent },
  ...{ driver: Type.Optional(driver), refusedBy: Type.Optional(refusedBy), curve },
  occupancy: Type.Optional(Type.Array(Type.String({ maxLength: 1000 }), { maxItems: 1e6 })),
});
const comparisonSchema = Type.Object({
  ...{ trace: name, policy: name, seeds: Type.Array(seed, { minItems: 1 }), refused: count },
  ...{ allocation: meanAndDeviation, fragmentation: meanAndDeviation },
  ...{ published: Type.Optional(published), refusedBy: Type.Optional(refusedBy), curve: Type.Optional(curve) },
});
const boundSchema = Type.Object({ trace: name, mean: bounds, perSeed: Type.Array(Type.Unknown(), { minItems: 1 }) });
const fileSchema = Type.Object({
  driver: Type.Optional(driver),
  comparisons: Type.Optional(Type.Array(comparisonSchema)),
  bounds: Type.Optional(Type.Array(boundSchema)),
});

type DriverKind = DriverSettings['kind'];
/** The form of `runSchema`. */
type RunFile = Pick<
  CompareResult,
  'policy' | 'trace' | 'seed' | 'refused' | 'allocationPercent' | 'fragmentationPercent' | 'curve' | 'occupancy'
> & { readonly driver?: { readonly kind: DriverKind } } & Partial<Pick<CompareResult, 'refusedBy'>>;
/** The form of `fileSchema`. */
interface ComparisonFile {
  readonly driver?: { readonly kind: DriverKind };
  readonly comparisons?: readonly ReportedComparison[];
  readonly bounds?: readonly Pick<TraceBounds, 'trace' | 'mean' | 'perSeed'>[];
}

/** A compiled schema, as far as it is used here. */
interface Form {
  Check(value: unknown): boolean;
  Errors(value: unknown): readonly { readonly instancePath: string; readonly message: string }[];
}

const RUN_FORM: Form = Compile(runSchema);
const FILE_FORM: Form = Compile(fileSchema);

/** One section for each trace, in order of first appearance. */
export function readResults(files: readonly string[]): readonly TraceReport[] {
  const runs: CompareResult[] = [];
  const sections = new Map<string, PolicyReport[]>();
  const computed: Pick<TraceBounds, 'trace' | 'mean' | 'perSeed'>[] = [];
  const add = (file: string, trace: string, policy: PolicyReport): void => {
    const section = sections.get(trace) ?? [];
    if (section.some((each) => each.name === policy.name)) {
      throw new TraceFault(`${file}: a second result of ${policy.name} on ${trace}; leave one of the files out`);
    }
    sections.set(trace, [...section, policy]);
  };
  for (const file of files) {
    const value = readJson(file);
    if (isRun(value)) {
      const run = asResult(checked(RUN_FORM, file, value) as RunFile, file);
      runs.push(run);
      if (!sections.has(run.trace)) sections.set(run.trace, []);
      continue;
    }
    const { driver: its, comparisons = [], bounds: some = [] } = checked(FILE_FORM, file, value) as ComparisonFile;
    if (comparisons.length === 0 && some.length === 0) throw new TraceFault(`${file}: no results in it; ${ADVICE}`);
    computed.push(...some);
    for (const each of comparisons) add(file, each.trace, policyReport(each, its?.kind ?? 'direct', undefined));
  }
  for (const group of Map.groupBy(runs, (run) => `${run.trace} ${run.driver} ${run.policy}`).values()) {
    const [comparison] = compareWithPublished(group);
    const [first] = group;
    if (comparison === undefined || first === undefined) continue;
    const policy = policyReport(comparison, first.driver, occupancyOf(group));
    add(files.join(', '), first.trace, policy);
  }
  if (sections.size === 0) throw new TraceFault(`${files.join(', ')}: bounds alone make no report; ${ADVICE}`);
  return [...sections].map(([trace, policies]) => ({ trace, policies, bounds: boundsFor(trace, computed) }));
}

function isRun(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'policy' in value;
}

function asResult(run: RunFile, file: string): CompareResult {
  const last = run.curve.at(-1);
  if (last === undefined) throw new TraceFault(`${file}: its curve is empty; ${ADVICE}`);
  const broken = run.occupancy?.findIndex((line) => parseOccupancy(line) === undefined) ?? -1;
  if (broken >= 0) {
    const form = 'name,model,milli|milli|…, each milli from 0 to 1000';
    throw new TraceFault(`${file}: occupancy.${broken} is not of the form ${form}; ${ADVICE}`);
  }
  return {
    ...{ ...run, driver: run.driver?.kind ?? 'direct', gpus: 0, pods: 0, arrivedMilli: 0, allocatedMilli: 0 },
    ...{ unseen: run.refusedBy?.unseen ?? 0, decisions: 0, atLoad: last },
    refusedBy: run.refusedBy ?? { unseen: 0, memory: 0, cpu: 0, split: 0, full: 0, never: 0 },
  };
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new TraceFault(`${file}: cannot be read (${reasonOf(error)}); check the path and its permissions`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TraceFault(`${file}: not JSON (${reasonOf(error).replaceAll(/\s+/g, ' ').slice(0, 120)}); ${ADVICE}`);
  }
}

/** Gives the value back where it has the form, or ends in a fault that names the field. */
function checked(form: Form, file: string, value: unknown): unknown {
  if (form.Check(value)) return value;
  const [first] = form.Errors(value);
  const field = first?.instancePath.slice(1, 200).replaceAll('/', '.') ?? '';
  throw new TraceFault(`${file}: ${field === '' ? 'the file' : field} ${first?.message ?? 'is wrong'}; ${ADVICE}`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
