// GPU models and model constraints as dense ids, so that matching is one table lookup.
// Grows only: the number of models and constraints in a cluster is small.

import type { ModelConstraint } from './model.ts';

export class ModelCatalog {
  readonly #models: string[] = [];
  readonly #modelIds = new Map<string, number>();
  readonly #constraints: ModelConstraint[] = [];
  readonly #constraintIds = new Map<string, number>();
  /** Row per constraint, column per model: 0 = not decided yet, 1 = admitted, 2 = refused. */
  readonly #decisions: Uint8Array[] = [];

  modelId(model: string): number {
    const known = this.#modelIds.get(model);
    if (known !== undefined) return known;
    this.#models.push(model);
    this.#modelIds.set(model, this.#models.length - 1);
    return this.#models.length - 1;
  }

  modelName(id: number): string {
    return this.#models[id] ?? 'unknown';
  }

  constraintId(constraint: ModelConstraint): number {
    const key = `${constraint.allow.join('|')}!${constraint.deny.join('|')}`;
    const known = this.#constraintIds.get(key);
    if (known !== undefined) return known;
    this.#constraints.push(constraint);
    this.#decisions.push(new Uint8Array(16));
    this.#constraintIds.set(key, this.#constraints.length - 1);
    return this.#constraints.length - 1;
  }

  constraint(id: number): ModelConstraint {
    return this.#constraints[id] ?? { allow: [], deny: [] };
  }

  /** The text of a constraint, as in the openb trace: models joined by `|`, exclusions with `!`. */
  constraintText(id: number): string {
    const { allow, deny } = this.constraint(id);
    return [...allow, ...deny.map((model) => `!${model}`)].join('|');
  }

  admits(constraintId: number, modelId: number): boolean {
    const row = this.#decisions[constraintId];
    const decided = row === undefined ? 0 : (row[modelId] ?? 0);
    return decided === 0 ? this.#decide(constraintId, modelId) : decided === 1;
  }

  #decide(constraintId: number, modelId: number): boolean {
    const { allow, deny } = this.constraint(constraintId);
    const model = this.modelName(modelId);
    const admitted = (allow.length === 0 || allow.includes(model)) && !deny.includes(model);
    let row = this.#decisions[constraintId] ?? new Uint8Array(16);
    if (modelId >= row.length) {
      const wider = new Uint8Array(Math.max(modelId + 1, row.length * 2));
      wider.set(row);
      row = wider;
      this.#decisions[constraintId] = row;
    }
    row[modelId] = admitted ? 1 : 2;
    return admitted;
  }
}
