// Grammar of what names a GPU on the wire: UUIDs end up in kubelet device ids (at most 63 characters), models in an
// annotation. Pure; sources clean or refuse what does not fit before it goes any further.

/** Leaves room for `::c` and seven digits within the 63 characters of a device id. */
export const MAX_UUID_CHARACTERS = 53;
const UUID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,52}$/;
const MAX_MODEL_CHARACTERS = 64;

export function isUsableUuid(uuid: string): boolean {
  return UUID.test(uuid);
}

/** A model name of printable ASCII, cut to what the annotation holds. */
export function cleanModel(name: string): string {
  const clean = name
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/ {2,}/g, ' ')
    .trim()
    .slice(0, MAX_MODEL_CHARACTERS)
    .trim();
  return clean === '' ? 'unknown' : clean;
}

/** `00000000:3B:00.0` and `0000:3b:00.0` are the same place: lower case, domain of four digits, as sysfs writes it. */
export function sysfsBusId(busId: string): string | undefined {
  const match = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(busId.trim());
  if (match === null) return undefined;
  const [, domain = '', bus = '', device = '', fn = ''] = match;
  return `${domain.replace(/^0+(?=[0-9a-f]{4})/i, '')}:${bus}:${device}.${fn}`.toLowerCase();
}
