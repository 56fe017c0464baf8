// What a FailedNodes entry says: our reasons, or in the gpushare profile the words that gpushare's users search for.

import type { ProfileName } from '../core/resources.ts';
import { REASON, REASON_COUNT, reasonText } from '../core/reasons.ts';
import type { Shape } from '../core/shape.ts';

export class ReasonTexts {
  readonly #profile: ProfileName;
  readonly #byCode: string[] = [];

  constructor(profile: ProfileName) {
    this.#profile = profile;
  }

  /** Texts for one shape, made once per call; the returned function is valid until the next call. */
  forShape(shape: Shape): (reason: number, nodeName: string) => string {
    for (let reason = 0; reason < REASON_COUNT; reason++) this.#byCode[reason] = reasonText(reason, shape.request);
    if (this.#profile === 'gpuloom') return (reason) => this.#byCode[reason] ?? '';
    this.#byCode[REASON.gpuMemory] = 'Insufficient GPU Memory in one device';
    return (reason, nodeName) =>
      reason === REASON.notAGpuNode
        ? `The node ${nodeName} is not for GPU share, need skip`
        : (this.#byCode[reason] ?? '');
  }
}
