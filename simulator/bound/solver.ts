// HiGHS, loaded when the first program is solved: its WebAssembly costs start-up time that only bounds need.

// oxlint-disable-next-line typescript/triple-slash-reference -- an ambient declaration has nothing to import
/// <reference path="./webassembly.d.ts" />
import type { Highs, ModelData } from 'highs';

import { provenMost, type LinearProgram } from './linear-program.ts';

export type Solved =
  /** `value` is what the solver reached; nothing can exceed `proven`, whatever the solver did. */
  { readonly kind: 'optimal'; readonly value: number; readonly proven: number } | { readonly kind: 'infeasible' };

export interface Solver {
  /** Blocks the thread until the optimum is found. */
  solve(program: LinearProgram): Solved;
}

export async function loadSolver(): Promise<Solver> {
  const { default: loaded } = await import('highs');
  const highs = await loaderIn(loaded)();
  return { solve: (program) => solveWith(highs, program) };
}

type Loader = () => Promise<Highs>;

/** As an ES module the package is its loader; its declarations describe the CommonJS form, which holds it as `default`. */
function loaderIn(loaded: Loader | { readonly default: Loader }): Loader {
  return typeof loaded === 'function' ? loaded : loaded.default;
}

function solveWith(highs: Highs, program: LinearProgram): Solved {
  // HiGHS has a status of its own for a program of nothing. Its rows are limits of at least 0.
  if (program.gains.length === 0) return { kind: 'optimal', value: 0, proven: 0 };
  return highs.withModel(modelOf(highs, program), (model): Solved => {
    model.options.set({ output_flag: false });
    model.run();
    const status = model.getModelStatus();
    if (status === highs.constants.modelStatus.infeasible) return { kind: 'infeasible' };
    if (status !== highs.constants.modelStatus.optimal) throw new Error(`HiGHS ended with model status ${status}`);
    const proven = provenMost(program, model.getSolution().rowDual);
    return { kind: 'optimal', value: model.getObjectiveValue(), proven };
  });
}

function modelOf(highs: Highs, program: LinearProgram): ModelData {
  const { gains, bounds, limits, kinds, starts, columns, factors } = program;
  return {
    numCols: gains.length,
    numRows: limits.length,
    sense: highs.constants.objectiveSense.maximize,
    colCost: Float64Array.from(gains),
    colLower: new Float64Array(gains.length),
    colUpper: Float64Array.from(bounds),
    rowLower: Float64Array.from(kinds, (kind, row) => (kind === 'exactly' ? (limits[row] ?? 0) : -highs.infinity)),
    rowUpper: Float64Array.from(limits),
    matrix: {
      format: 'csr',
      numRows: limits.length,
      numCols: gains.length,
      starts: Int32Array.from(starts),
      indices: Int32Array.from(columns),
      values: Float64Array.from(factors),
    },
  };
}
