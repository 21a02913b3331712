// Parses preferences from a file of any size in any of the formats (formats.ts). An invalid row is reported and skipped.

import { AttuneError } from '../error.ts';
import { splitJsonRows } from './json-rows.ts';
import { parseRow } from './parse-row.ts';
import type { PreferenceRecord } from './record.ts';

export type ImportedRow = { row: number; record: PreferenceRecord } | { row: number; error: string };

const MAX_ROW_BYTES = 1_048_576;

/** Every preference with the number of its row, from 1, or the reason why the row was rejected. */
export async function* parsePreferences(
  source: AsyncIterable<Uint8Array>,
  { maxRowBytes = MAX_ROW_BYTES }: { maxRowBytes?: number | undefined } = {},
): AsyncGenerator<ImportedRow> {
  let lastRow = 0;
  try {
    for await (const item of splitJsonRows(source, maxRowBytes)) {
      lastRow = item.row;
      if ('error' in item) yield item;
      else yield* parseRecords(item.row, item.value);
    }
  } catch (error) {
    // The decoder throws TypeError: replacing invalid bytes would store a text that the rater did not see.
    if (!(error instanceof TypeError)) throw error;
    yield { row: lastRow + 1, error: 'the file is not UTF-8 text; convert it (or unpack it) first' };
  }
}

function* parseRecords(row: number, value: unknown): Generator<ImportedRow> {
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
