// Splits a byte stream into JSON rows: lines of JSONL, or the elements of one array (or of {"data": [...]}). Holds one row
// at a time; an invalid or overlong row is reported without losing those after it. Hand-written because a streaming JSON
// parser stops at the first syntax error.

import { AttuneError } from '../error.ts';
import { parseShallowJson } from '../storable.ts';

export type JsonRow = { row: number; value: unknown } | { row: number; error: string };
type Splitter = (text: string, isLast: boolean) => Iterable<JsonRow>;

const ARRAY_START = /^\s*(?:\{\s*"data"\s*:\s*)?\[/;
/** Characters that are enough to recognize ARRAY_START. */
const HEAD_LENGTH = 256;
const [QUOTE, BACKSLASH, COMMA, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [34, 92, 44, 91, 93, 123, 125];

/** Rows in order, numbered from 1. Blank lines are counted and skipped. Throws TypeError if the bytes are not UTF-8. */
export async function* splitJsonRows(source: AsyncIterable<Uint8Array>, maxRowBytes: number): AsyncGenerator<JsonRow> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let head = '';
  let blankLines = 0;
  let split: Splitter | null = null;
  for await (const bytes of source) {
    const text = decoder.decode(bytes, { stream: true });
    if (split) {
      yield* split(text, false);
      continue;
    }
    // Not held: there may be any amount of white space.
    const start = (head + text).trimStart();
    blankLines += (head + text).slice(0, -start.length || undefined).split('\n').length - 1;
    head = start;
    if (head.length < HEAD_LENGTH) continue;
    split = createSplitter(head, maxRowBytes, blankLines);
    yield* split(trimHead(head), false);
    head = '';
  }
  split ??= createSplitter(head, maxRowBytes, blankLines);
  yield* split(trimHead(head) + decoder.decode(), true);
}

function createSplitter(head: string, maxRowBytes: number, blankLines: number): Splitter {
  return ARRAY_START.test(head) ? createArraySplitter(maxRowBytes) : createLineSplitter(maxRowBytes, blankLines + 1);
}

const trimHead = (head: string) => head.replace(ARRAY_START, '');

function parseJson(row: number, text: string, maxRowBytes: number): JsonRow {
  if (Buffer.byteLength(text) > maxRowBytes) return { row, error: `is longer than ${maxRowBytes} bytes; shorten it` };
  try {
    return { row, value: parseShallowJson(text) };
  } catch (error) {
    if (error instanceof AttuneError) return { row, error: error.message };
    return { row, error: `is not valid JSON: ${(error as Error).message}` };
  }
}

function createLineSplitter(maxRowBytes: number, firstRow: number): Splitter {
  let row = firstRow;
  let held = '';
  return function* (text, isLast) {
    const lines = text.split('\n');
    for (const [index, line] of lines.entries()) {
      // A character has at least one byte, so one character over the limit rejects the row; the rest is dropped.
      held += line.slice(0, maxRowBytes + 1 - held.length);
      if (index === lines.length - 1 && !isLast) return;
      if (held.trim() !== '') yield parseJson(row, held, maxRowBytes);
      row++;
      held = '';
    }
  };
}

function createArraySplitter(maxRowBytes: number): Splitter {
  let row = 1;
  let held = '';
  let depth = 0;
  let isInString = false;
  let isEscaped = false;
  let isEnded = false;
  return function* (text, isLast) {
    let start = 0;
    const holdUntil = (end: number) => {
      held += text.slice(start, Math.min(end, start + maxRowBytes + 1 - held.length));
      start = end;
    };
    for (let at = 0; at < text.length && !isEnded; at++) {
      const char = text.charCodeAt(at);
      if (isInString) {
        if (isEscaped) isEscaped = false;
        else if (char === BACKSLASH) isEscaped = true;
        else if (char === QUOTE) isInString = false;
        continue;
      }
      if (char === QUOTE) isInString = true;
      else if (char === OPEN_BRACE || char === OPEN_BRACKET) depth++;
      else if (depth > 0 && (char === CLOSE_BRACE || char === CLOSE_BRACKET)) depth--;
      else if (depth === 0 && (char === COMMA || char === CLOSE_BRACKET)) {
        holdUntil(at);
        if (held.trim() !== '') yield parseJson(row++, held, maxRowBytes);
        held = '';
        start = at + 1;
        isEnded = char === CLOSE_BRACKET;
      }
    }
    if (!isEnded) holdUntil(text.length);
    if (isLast && !isEnded) yield { row, error: 'the array is not closed; the file is truncated here' };
  };
}
