// Cuts a stream of bytes into rows of JSON: lines of JSONL, or the elements of one array (or of {"data": [...]}). It
// holds one row at a time, and a row that is broken or too long is refused without losing those after it. Our own
// because a streaming JSON parser stops at the first syntax error, and those at hand are not meant for strangers' input.

export type Row = { row: number; value: unknown } | { row: number; error: string };

const ARRAY = /^\s*(?:\{\s*"data"\s*:\s*)?\[/;
/** Enough to see how a file begins. */
const HEAD = 256;

/** Rows in order, counted from 1. A blank line is counted and passed over. */
export async function* splitJsonRows(source: AsyncIterable<Uint8Array>, maxRowLength: number): AsyncGenerator<Row> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let head = '';
  let cut: ((text: string, last: boolean) => Iterable<Row>) | null = null;
  for await (const bytes of source) {
    const text = decoder.decode(bytes, { stream: true });
    if (cut) {
      yield* cut(text, false);
      continue;
    }
    head += text;
    if (head.trimStart().length < HEAD) continue;
    cut = chooseCut(head, maxRowLength);
    yield* cut(trimHead(head), false);
    head = '';
  }
  cut ??= chooseCut(head, maxRowLength);
  yield* cut(trimHead(head) + decoder.decode(), true);
}

function chooseCut(head: string, maxRowLength: number) {
  return ARRAY.test(head) ? cutArray(maxRowLength) : cutLines(maxRowLength);
}

const trimHead = (head: string) => head.replace(ARRAY, '');

function parseRow(row: number, text: string, maxRowLength: number): Row {
  if (text.length > maxRowLength) return { row, error: `it is longer than ${maxRowLength} characters; shorten it` };
  try {
    return { row, value: JSON.parse(text) };
  } catch (error) {
    return { row, error: `not valid JSON: ${(error as Error).message}` };
  }
}

function cutLines(maxRowLength: number) {
  let row = 1;
  let held = '';
  return function* (text: string, last: boolean): Generator<Row> {
    const lines = text.split('\n');
    for (const [at, line] of lines.entries()) {
      // What is over the limit is not kept: one character more is enough to refuse it.
      held += line.slice(0, maxRowLength + 1 - held.length);
      if (at === lines.length - 1 && !last) return;
      if (held.trim() !== '') yield parseRow(row, held, maxRowLength);
      row++;
      held = '';
    }
  };
}

function cutArray(maxRowLength: number) {
  let row = 1;
  let held = '';
  let depth = 0;
  let inString = false;
  let escaped = false;
  let ended = false;
  return function* (text: string, last: boolean): Generator<Row> {
    let from = 0;
    const keep = (to: number) => {
      held += text.slice(from, Math.min(to, from + maxRowLength + 1 - held.length));
      from = to;
    };
    for (let at = 0; at < text.length && !ended; at++) {
      const char = text.charCodeAt(at);
      if (inString) {
        if (escaped) escaped = false;
        else if (char === 92) escaped = true;
        else if (char === 34) inString = false;
        continue;
      }
      if (char === 34) inString = true;
      else if (char === 123 || char === 91) depth++;
      else if (depth > 0 && (char === 125 || char === 93)) depth--;
      else if (depth === 0 && (char === 44 || char === 93)) {
        keep(at);
        if (held.trim() !== '') yield parseRow(row++, held, maxRowLength);
        held = '';
        from = at + 1;
        ended = char === 93;
      }
    }
    if (!ended) keep(text.length);
    if (last && !ended) yield { row, error: 'the array has no end; the file is cut off here' };
  };
}
