// Kubernetes quantities ("500m", "4Gi", "1e3") to plain numbers. Malformed input gives undefined, never a guess.
// Grammar: k8s.io/apimachinery/pkg/api/resource/quantity.go.

const PATTERN = /^([+-]?)(\d{1,19})(?:\.(\d{0,9}))?(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?\d{1,2}))?$/;

const SUFFIX_FACTOR: ReadonlyMap<string, number> = new Map([
  ['n', 1e-9],
  ['u', 1e-6],
  ['m', 1e-3],
  ['k', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['T', 1e12],
  ['P', 1e15],
  ['E', 1e18],
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
  ['Ti', 2 ** 40],
  ['Pi', 2 ** 50],
  ['Ei', 2 ** 60],
]);

/** The value of a quantity as a number, or undefined where it is not a quantity. */
export function parseQuantity(value: string | number | undefined): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (value === undefined || value.length > 40) return undefined;
  const match = PATTERN.exec(value);
  if (match === null) return undefined;
  const [, sign, whole, fraction, suffix, exponent] = match;
  const mantissa = Number(`${whole}.${fraction ?? '0'}0`);
  const factor = suffix === undefined ? 10 ** Number(exponent ?? 0) : (SUFFIX_FACTOR.get(suffix) ?? Number.NaN);
  const magnitude = suffix === 'm' ? mantissa / 1000 : mantissa * factor;
  if (!Number.isFinite(magnitude)) return undefined;
  return sign === '-' ? -magnitude : magnitude;
}

/** A count of an extended resource: a whole number from 0 to 2^31 - 1, or undefined. */
export function parseCount(value: string | number | undefined): number | undefined {
  const parsed = parseQuantity(value);
  if (parsed === undefined || !Number.isInteger(parsed) || parsed < 0 || parsed > 0x7fffffff) return undefined;
  return parsed;
}

/** CPU in thousandths of a core, rounded up as Kubernetes does; 0 where absent or malformed. */
export function cpuMilli(value: string | number | undefined): number {
  const cores = parseQuantity(value);
  return cores === undefined || cores < 0 ? 0 : Math.ceil(Number((cores * 1000).toFixed(6)));
}

/** Memory in MiB, rounded up; 0 where absent or malformed. */
export function memoryMiB(value: string | number | undefined): number {
  const bytes = parseQuantity(value);
  return bytes === undefined || bytes < 0 ? 0 : Math.ceil(bytes / 2 ** 20);
}
