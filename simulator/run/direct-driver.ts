// The `direct` driver: the node that the policy puts first, as in the FGD experiments.

import type { Engine } from '../../extender/core/engine.ts';
import { FITS } from '../../extender/core/reasons.ts';
import type { Shape } from '../../extender/core/shape.ts';
import type { Random } from '../../extender/random.ts';
import { NO_NODE_FITS, type Driver } from './driver.ts';

export function bestNodeDriver(engine: Engine): Driver {
  return { choose: (shape) => engine.bestNode(shape) };
}

/** One of the nodes that fit, all equally likely. `chosen` is called after each choice. */
export function anyNodeDriver(engine: Engine, random: Random, chosen: () => void): Driver {
  return {
    choose(shape) {
      const node = anyNode(engine, shape, random);
      chosen();
      return node;
    },
  };
}

function anyNode(engine: Engine, shape: Shape, random: Random): number {
  const { reasons } = engine.verdicts(shape);
  const { nodeSlots } = engine.ledger.state;
  let fitting = 0;
  for (let node = 0; node < nodeSlots; node++) if (reasons[node] === FITS) fitting++;
  if (fitting === 0) return NO_NODE_FITS;
  let skip = random.between(0, fitting - 1);
  for (let node = 0; node < nodeSlots; node++) if (reasons[node] === FITS && skip-- === 0) return node;
  return NO_NODE_FITS;
}
