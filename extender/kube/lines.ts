// Bytes to lines for watch streams. Holds at most one unfinished line, whose length is bounded.

const LONGEST_LINE_CHARACTERS = 64 * 1024 * 1024;

/** Complete, non-empty lines. An unfinished last line is a cut stream and is dropped, never half an object. */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  longestLine: number = LONGEST_LINE_CHARACTERS,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let pendingLength = 0;
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
      parts.push(text.slice(start, end));
      const line = parts.length === 1 ? text.slice(start, end) : parts.join('');
      parts = [];
      pendingLength = 0;
      start = end + 1;
      if (line.trim() !== '') yield line;
    }
    if (start < text.length) {
      parts.push(text.slice(start));
      pendingLength += text.length - start;
      if (pendingLength > longestLine) {
        throw new Error(`a line of the stream is longer than ${String(longestLine)} characters`);
      }
    }
  }
}
