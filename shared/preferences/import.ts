// Reads preferences from a file of any size in any of the shapes in shapes.ts. A bad row is reported and passed over.

import type { PreferenceRecord } from './record.ts';
import { readRows } from './rows.ts';
import { RowError, readShape } from './shapes.ts';

export type ImportedRow = { row: number; record: PreferenceRecord } | { row: number; error: string };

const MAX_ROW_LENGTH = 1_048_576;

/** Every preference with its row, counted from 1, or why that row was refused. */
export async function* readPreferences(
  source: AsyncIterable<Uint8Array>,
  { maxRowLength = MAX_ROW_LENGTH }: { maxRowLength?: number } = {},
): AsyncGenerator<ImportedRow> {
  for await (const item of readRows(source, maxRowLength)) {
    if ('error' in item) {
      yield item;
      continue;
    }
    try {
      for (const record of readShape(item.value)) yield { row: item.row, record };
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      yield { row: item.row, error: error.message };
    }
  }
}
