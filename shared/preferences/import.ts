// Reads preferences from a file of any size in any of the shapes in shapes.ts. A bad row is reported and passed over.

import { AttuneError } from '../error.ts';
import { splitJsonRows } from './json-rows.ts';
import { parseRow } from './parse-row.ts';
import type { PreferenceRecord } from './record.ts';

export type ImportedRow = { row: number; record: PreferenceRecord } | { row: number; error: string };

const MAX_ROW_LENGTH = 1_048_576;

/** Every preference with its row, counted from 1, or why that row was refused. */
export async function* parsePreferences(
  source: AsyncIterable<Uint8Array>,
  { maxRowLength = MAX_ROW_LENGTH }: { maxRowLength?: number } = {},
): AsyncGenerator<ImportedRow> {
  let last = 0;
  try {
    for await (const item of splitJsonRows(source, maxRowLength)) {
      last = item.row;
      if ('error' in item) yield item;
      else yield* readRecords(item.row, item.value);
    }
  } catch (error) {
    // The decoder's: what is no UTF-8 would be stored as something else than what was said.
    if (!(error instanceof TypeError)) throw error;
    yield { row: last + 1, error: 'the file is not UTF-8 text; convert it (or unpack it) first' };
  }
}

function* readRecords(row: number, value: unknown): Generator<ImportedRow> {
  let records: PreferenceRecord[];
  try {
    records = parseRow(value);
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    yield { row, error: error.message };
    return;
  }
  for (const record of records) yield { row, record };
}
