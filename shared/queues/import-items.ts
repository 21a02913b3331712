// Imports items into a queue: JSON rows, or plain text with a user's message on each line. All of them or none: an invalid row is
// named, and nothing is stored.

import type { Owner } from '../access/owner.ts';
import { countRows, type RowQuota } from '../access/row-quota.ts';
import type { Database } from '../database/connect.ts';
import { AttuneError } from '../error.ts';
import { splitJsonRows } from '../preferences/json-rows.ts';
import { type Redact, redactValue } from '../redaction/redact.ts';
import { insertItems, redactItem } from './insert-items.ts';
import { type ItemInput, parseItem } from './item-input.ts';
import type { QueueRow } from './queues.ts';

export const IMPORT_FORMATS = ['jsonl', 'text'] as const;
export type ImportFormat = (typeof IMPORT_FORMATS)[number];
export type ItemsReport = { imported: number; duplicates: number; total: number };

/** They are held in memory, and inserted in one transaction. */
const MAX_ITEMS = 50_000;
const MAX_TOTAL_LENGTH = 64 * 2 ** 20;
const MAX_ROW_BYTES = 1_048_576;

type ImportOptions = {
  format: ImportFormat;
  owner: Owner;
  redact: Redact | null;
  quota?: RowQuota | null;
  maxRowBytes?: number;
};

export async function importItems(
  db: Database,
  queue: QueueRow,
  source: AsyncIterable<Uint8Array>,
  { format, owner, redact, quota = null, maxRowBytes = MAX_ROW_BYTES }: ImportOptions,
): Promise<ItemsReport> {
  const items: Awaited<ReturnType<typeof redactItem>>[] = [];
  let length = 0;
  for await (const item of readItems(source, format, queue, maxRowBytes)) {
    length += JSON.stringify(item).length;
    if (items.length === MAX_ITEMS || length > MAX_TOTAL_LENGTH)
      throw new AttuneError(
        `the file has more than ${MAX_ITEMS} items, or ${MAX_TOTAL_LENGTH / 2 ** 20} MiB; send it in parts`,
        { code: 'too_many_items' },
      );
    items.push(await redactItem(redact, { ...item, group: await redactValue(redact, item.group) }));
  }
  if (items.length === 0) throw new AttuneError('there is no item in the file', { code: 'empty_body' });
  const imported = await db.transaction(async (transaction) => {
    const inserted = await insertItems(transaction, queue, items, owner);
    await countRows(transaction, quota, inserted);
    return inserted;
  });
  return { imported, duplicates: items.length - imported, total: items.length };
}

async function* readItems(
  source: AsyncIterable<Uint8Array>,
  format: ImportFormat,
  { settings }: QueueRow,
  maxRowBytes: number,
): AsyncGenerator<ItemInput> {
  try {
    if (format === 'text') {
      for await (const { row, line } of readLines(source, maxRowBytes))
        yield nameRow(row, () => parseItem({ messages: [{ role: 'user', content: line }] }, settings));
    } else {
      for await (const row of splitJsonRows(source, maxRowBytes)) {
        if ('error' in row) throw refuse(row.row, row.error);
        yield nameRow(row.row, () => parseItem(row.value, settings));
      }
    }
  } catch (error) {
    // Of the decoder.
    if (!(error instanceof TypeError)) throw error;
    throw new AttuneError('the file is not UTF-8 text; convert it (or unpack it) first', { code: 'invalid_row' });
  }
}

async function* readLines(
  source: AsyncIterable<Uint8Array>,
  maxLength: number,
): AsyncGenerator<{ row: number; line: string }> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let held = '';
  let row = 1;
  const cut = (text: string, isLast: boolean) => {
    const lines = (held + text).split(/\r?\n/);
    held = isLast ? '' : lines.pop()!;
    if (held.length > maxLength) throw refuse(row + lines.length, `is longer than ${maxLength} bytes; shorten it`);
    return lines.map((line) => ({ row: row++, line }));
  };
  for await (const bytes of source)
    for (const line of cut(decoder.decode(bytes, { stream: true }), false)) if (line.line.trim() !== '') yield line;
  for (const line of cut(decoder.decode(), true)) if (line.line.trim() !== '') yield line;
}

function nameRow<T>(row: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    throw refuse(row, error.message);
  }
}

function refuse(row: number, problem: string): AttuneError {
  return new AttuneError(`row ${row}: ${problem}; nothing was imported`, { code: 'invalid_row' });
}
