// What a FailedNodes entry says: our reasons, or in the gpushare profile the words that gpushare's users search for.

import type { ProfileName } from '../core/resources.ts';
import { REASON, REASON_COUNT, reasonText } from '../core/reasons.ts';
import type { Shape } from '../core/shape.ts';

/** The texts for one shape, by reason code. */
export interface TextsOfShape {
  of(reason: number, nodeName: string): string;
  /** Whether the text for this reason differs from node to node. */
  namesNode(reason: number): boolean;
}

export class ReasonTexts {
  readonly #profile: ProfileName;
  readonly #byCode: string[] = [];

  constructor(profile: ProfileName) {
    this.#profile = profile;
  }

  /** Made once per call; what is returned is valid until the next call. */
  forShape(shape: Shape): TextsOfShape {
    const byCode = this.#byCode;
    for (let reason = 0; reason < REASON_COUNT; reason++) byCode[reason] = reasonText(reason, shape.request);
    if (this.#profile === 'gpuloom') return { of: (reason) => byCode[reason] ?? '', namesNode: () => false };
    byCode[REASON.gpuMemory] = 'Insufficient GPU Memory in one device';
    const namesNode = (reason: number): boolean => reason === REASON.notAGpuNode;
    return {
      of: (reason, nodeName) =>
        namesNode(reason) ? `The node ${nodeName} is not for GPU share, need skip` : (byCode[reason] ?? ''),
      namesNode,
    };
  }
}
