// A linear program as sparse rows: the most of a weighted sum of variables, each from 0 to a finite bound, under rows that
// are at most, or exactly, a limit. Also what a solver's row prices prove about it. Pure; knows no solver.

/** Its position among the variables. */
export type Variable = number;
/** Its position among the rows. */
export type RowNumber = number;

type RowKind = 'at most' | 'exactly';

export class LinearProgram {
  readonly gains: number[] = [];
  readonly bounds: number[] = [];
  readonly limits: number[] = [];
  readonly kinds: RowKind[] = [];
  /** Terms of all rows, one row after the other; `starts` says where each row begins, and last where all end. */
  readonly starts: number[] = [0];
  readonly columns: Variable[] = [];
  readonly factors: number[] = [];

  /** A variable from 0 to `bound`; every unit of it is worth `gain`. */
  variable(gain: number, bound: number): Variable {
    if (!Number.isFinite(gain) || !(bound >= 0) || !Number.isFinite(bound)) {
      throw new RangeError(`a variable of gain ${gain} from 0 to ${bound}`);
    }
    this.bounds.push(bound);
    return this.gains.push(gain) - 1;
  }

  /** Sum of factor × variable over `terms` ≤ limit. A variable may stand in a row once. */
  atMost(limit: number, terms: readonly Term[]): RowNumber {
    return this.#row('at most', limit, terms);
  }

  /** Sum of factor × variable over `terms` = limit. */
  exactly(limit: number, terms: readonly Term[]): RowNumber {
    return this.#row('exactly', limit, terms);
  }

  #row(kind: RowKind, limit: number, terms: readonly Term[]): RowNumber {
    for (const [factor, variable] of terms) {
      this.columns.push(variable);
      this.factors.push(factor);
    }
    this.starts.push(this.columns.length);
    this.kinds.push(kind);
    return this.limits.push(limit) - 1;
  }
}

export type Term = readonly [factor: number, variable: Variable];

/**
 * What no solution can exceed, by weak duality: Σ price × limit + Σ over variables of bound × (gain − priced cost, where
 * that is positive). True of any prices (of rows that are "at most" the positive part counts), so a solver's tolerance
 * or mistake can make it larger than the optimum, never smaller; at optimal prices it is the optimum.
 */
export function provenMost(program: LinearProgram, prices: ArrayLike<number>): number {
  const worth = Float64Array.from(program.gains);
  let most = 0;
  for (let row = 0; row < program.limits.length; row++) {
    const given = prices[row] ?? 0;
    const price = program.kinds[row] === 'exactly' ? given : Math.max(0, given);
    if (price === 0) continue;
    most += price * (program.limits[row] ?? 0);
    const end = program.starts[row + 1] ?? 0;
    for (let at = program.starts[row] ?? 0; at < end; at++) {
      const variable = program.columns[at] ?? 0;
      worth[variable] = (worth[variable] ?? 0) - price * (program.factors[at] ?? 0);
    }
  }
  for (let variable = 0; variable < worth.length; variable++) {
    most += Math.max(0, worth[variable] ?? 0) * (program.bounds[variable] ?? 0);
  }
  return most;
}
