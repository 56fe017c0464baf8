// JSON merge patch (RFC 7386). Strategic merge patches are applied the same way, so lists are replaced whole;
// their `$` directives cannot be honoured and are refused. Pure: the target is never changed, unchanged parts are shared.

import { ApiError } from './api-error.ts';
import { isRecord } from './objects.ts';

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const merged: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [field, change] of Object.entries(patch)) {
    if (change === null) delete merged[field];
    else define(merged, field, mergePatch(merged[field], change));
  }
  return merged;
}

/** Plain assignment would run the setter of `__proto__`. */
function define(target: Record<string, unknown>, field: string, value: unknown): void {
  Object.defineProperty(target, field, { value, writable: true, enumerable: true, configurable: true });
}

export function refuseDirectives(patch: unknown): void {
  if (Array.isArray(patch)) {
    for (const part of patch) refuseDirectives(part);
  } else if (isRecord(patch)) {
    for (const [field, part] of Object.entries(patch)) {
      if (field.startsWith('$')) {
        throw new ApiError(415, `strategic merge directive ${field} is not supported here; send a JSON merge patch`);
      }
      refuseDirectives(part);
    }
  }
}
