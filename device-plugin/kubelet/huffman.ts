// HPACK's Huffman code (RFC 7541, appendix B), decoding only. The code is canonical, so the lengths say everything.
// Pure: bytes in, bytes out or a MalformedHeadersError. Tables are built once and never change.

/** The peer sent bytes that no HTTP/2 client would send; its connection must be closed. */
export class MalformedHeadersError extends Error {}

/** Length of each byte's code in bits. */
// prettier-ignore
const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST_CODE = 30;

interface CodesOfOneLength {
  /** The smallest code of this length; the others follow in order of their bytes. */
  readonly first: number;
  readonly bytes: readonly number[];
}

/** Indexed by length in bits. */
const CODES: readonly CodesOfOneLength[] = canonicalCodes();

function canonicalCodes(): readonly CodesOfOneLength[] {
  const codes: CodesOfOneLength[] = [{ first: 0, bytes: [] }];
  let first = 0;
  for (let length = 1; length <= LONGEST_CODE; length++) {
    const bytes = CODE_LENGTHS.flatMap((bits, byte) => (bits === length ? [byte] : []));
    codes.push({ first, bytes });
    first = (first + bytes.length) * 2;
  }
  return codes;
}

export function decodeHuffman(encoded: Uint8Array): Buffer {
  const decoded: number[] = [];
  let code = 0;
  let length = 0;
  for (const byte of encoded) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length += 1;
      const candidates = CODES[length];
      if (candidates === undefined) throw new MalformedHeadersError('a Huffman code is longer than 30 bits');
      const found = candidates.bytes[code - candidates.first];
      if (found === undefined) continue;
      decoded.push(found);
      code = 0;
      length = 0;
    }
  }
  if (length > 7 || code !== 2 ** length - 1) throw new MalformedHeadersError('Huffman padding is not all ones');
  return Buffer.from(decoded);
}
