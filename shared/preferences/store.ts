// Preferences into and out of Postgres, for the API and the command line alike.

import { asc, count, eq, gt, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { preferences } from '../database/schema.ts';
import { hashContent } from '../digest.ts';
import { newId } from '../id.ts';
import { countNewPairs } from '../rounds/pairs.ts';
import { formatPreference } from './export.ts';
import { parsePreferences } from './import.ts';
import type { PreferenceRecord } from './record.ts';

export type ImportReport = {
  /** rows read, including refused ones */
  rows: number;
  imported: number;
  /** the same preference was imported before */
  duplicates: number;
  refused: number;
  /** why, for the first rows that were refused */
  errors: { row: number; message: string }[];
};

const MOST_ERRORS = 100;
const BATCH = 500;

/** Reads preferences from bytes and commits them in batches; a batch that is reported is stored. */
export async function importPreferences(
  db: Database,
  source: AsyncIterable<Uint8Array>,
  onProgress: (report: ImportReport) => void = () => {},
): Promise<ImportReport> {
  const report: ImportReport = { rows: 0, imported: 0, duplicates: 0, refused: 0, errors: [] };
  let batch: (typeof preferences.$inferInsert)[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    const added = await db.insert(preferences).values(batch).onConflictDoNothing().returning({ id: preferences.id });
    report.imported += added.length;
    report.duplicates += batch.length - added.length;
    batch = [];
    onProgress(report);
  };
  for await (const item of parsePreferences(source)) {
    report.rows = Math.max(report.rows, item.row);
    if ('error' in item) {
      report.refused++;
      if (report.errors.length < MOST_ERRORS) report.errors.push({ row: item.row, message: item.error });
      continue;
    }
    batch.push(await toRow(item.record));
    if (batch.length >= BATCH) await flush();
  }
  await flush();
  return report;
}

async function toRow(record: PreferenceRecord): Promise<typeof preferences.$inferInsert> {
  const { prompt, a, b, choice, rater, externalId, metadata } = record;
  const [chosen, rejected] = choice === 'b' ? [b, a] : [a, b];
  return {
    id: newId('pref_'),
    source: 'import',
    choice: choice === 'b' ? 'a' : choice,
    rater: rater ?? 'import',
    prompt,
    chosen,
    rejected,
    content_hash: await hashContent({
      prompt,
      chosen,
      rejected,
      choice: choice === 'b' ? 'a' : choice,
      rater,
      externalId,
    }),
    metadata: { ...metadata, ...(externalId === null ? {} : { external_id: externalId }) },
  };
}

/** Every preference with a strict choice as lines of JSON, oldest first, a page in memory at a time. */
export async function* exportPreferences(db: Database, format: 'openai' | 'trl'): AsyncGenerator<string> {
  let after = '';
  while (true) {
    const page = await db
      .select()
      .from(preferences)
      .where(gt(preferences.id, after))
      .orderBy(asc(preferences.id))
      .limit(BATCH);
    for (const row of page) {
      if (row.choice !== 'a' && row.choice !== 'b') continue;
      const line = formatPreference(
        {
          prompt: row.prompt,
          a: row.chosen,
          b: row.rejected,
          choice: 'a',
          rater: row.rater,
          externalId: row.id,
          metadata: row.metadata ?? {},
        },
        format,
      );
      if (line !== null) yield `${line}\n`;
    }
    const last = page.at(-1);
    if (!last || page.length < BATCH) return;
    after = last.id;
  }
}

/** How many there are, by choice and by source. */
export async function countPreferences(db: Database) {
  const by = async (column: typeof preferences.choice | typeof preferences.source) =>
    Object.fromEntries(
      (await db.select({ value: column, n: count() }).from(preferences).groupBy(column)).map((row) => [
        row.value,
        row.n,
      ]),
    );
  const [raters] = await db.select({ n: sql<number>`count(distinct ${preferences.rater})::int` }).from(preferences);
  return {
    total: await db.$count(preferences),
    pairs_not_yet_seen: await countNewPairs(db),
    raters: raters?.n ?? 0,
    by_choice: await by(preferences.choice),
    by_source: await by(preferences.source),
  };
}

export const findPreference = async (db: Database, id: string) =>
  (await db.select().from(preferences).where(eq(preferences.id, id)))[0] ?? null;
