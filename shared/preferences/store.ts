// Imports, exports and counts preferences in Postgres, for the API and the command line.

import { eq, sum } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import { countRows, dailyRowsExceeded, findRowsLeft, type RowQuota } from '../access/row-quota.ts';
import type { Database } from '../database/connect.ts';
import { preference_counts, preferences, voters } from '../database/schema.ts';
import { hashContent } from '../digest.ts';
import { newId } from '../id.ts';
import { type Redact, redactPrompt, redactValue } from '../redaction/redact.ts';
import { countNewPairsOf } from '../rounds/pairs.ts';
import { type ExportFormat, formatPair } from './export.ts';
import { parsePreferences } from './import.ts';
import { type Aggregation, readMajorities } from './majority.ts';
import { readPairs } from './pairs.ts';
import type { PreferenceRecord } from './record.ts';

export type ImportReport = {
  /** rows read, including refused ones */
  rows: number;
  imported: number;
  /** preferences that were imported before */
  duplicates: number;
  refused: number;
  /** the reasons for the first refused rows */
  errors: { row: number; message: string }[];
};

const MAX_ERRORS = 100;
const BATCH_SIZE = 500;
/** Characters: a batch has fewer rows if they are long. */
const MAX_BATCH_LENGTH = 4 * 2 ** 20;

type ImportOptions = {
  owner: Owner;
  redact: Redact | null;
  quota?: RowQuota | null;
  maxRowBytes?: number;
  onProgress?: (report: ImportReport) => void;
};

/** Parses preferences and commits them in batches; `onProgress` is called after each commit. */
export async function importPreferences(
  db: Database,
  source: AsyncIterable<Uint8Array>,
  { owner, redact, quota = null, maxRowBytes, onProgress = () => {} }: ImportOptions,
): Promise<ImportReport> {
  const report: ImportReport = { rows: 0, imported: 0, duplicates: 0, refused: 0, errors: [] };
  let batch: (typeof preferences.$inferInsert)[] = [];
  let length = 0;
  const flush = async () => {
    while (batch.length > 0) {
      const rowsLeft = await findRowsLeft(db, quota);
      if (quota && rowsLeft === 0)
        throw dailyRowsExceeded(quota, `the import stopped after storing ${report.imported} rows`);
      const rows = batch.slice(0, rowsLeft);
      const added = await db.transaction(async (transaction) => {
        const stored = await transaction
          .insert(preferences)
          .values(rows)
          .onConflictDoNothing()
          .returning({ id: preferences.id });
        await countRows(transaction, quota, stored.length);
        return stored.length;
      });
      report.imported += added;
      report.duplicates += rows.length - added;
      batch = batch.slice(rows.length);
      onProgress(report);
    }
    length = 0;
  };
  for await (const item of parsePreferences(source, { maxRowBytes })) {
    report.rows = Math.max(report.rows, item.row);
    if ('error' in item) {
      report.refused++;
      if (report.errors.length < MAX_ERRORS) report.errors.push({ row: item.row, message: item.error });
      continue;
    }
    const record = await redactRecord(redact, item.record);
    const row = toRow(record, { ...owner, redacted: record !== item.record });
    batch.push(row);
    length += JSON.stringify([row.prompt, row.metadata]).length + row.chosen.length + row.rejected.length;
    if (batch.length >= BATCH_SIZE || length >= MAX_BATCH_LENGTH) await flush();
  }
  await flush();
  return report;
}

/** A rater of a file is never one who signs in here, nor an end user whom a backend names. */
function nameRater(rater: string | null): string {
  return rater === null ? 'import' : `import:${rater}`;
}

/** A record in which nothing is redacted is returned itself. */
async function redactRecord(redact: Redact | null, record: PreferenceRecord): Promise<PreferenceRecord> {
  const given = { a: record.a, b: record.b, metadata: record.metadata };
  const texts = await redactValue(redact, given);
  const prompt = await redactPrompt(redact, record.prompt);
  return texts === given && prompt === record.prompt ? record : { ...record, ...texts, prompt };
}

function toRow(record: PreferenceRecord, owner: Owner & { redacted: boolean }): typeof preferences.$inferInsert {
  const { prompt, a, b, choice, rater, externalId, metadata } = record;
  const [chosen, rejected] = choice === 'b' ? [b, a] : [a, b];
  const storedChoice = choice === 'b' ? 'a' : choice;
  return {
    id: newId('pref_'),
    source: 'import',
    choice: storedChoice,
    rater: nameRater(rater),
    prompt,
    chosen,
    rejected,
    content_hash: hashContent({ prompt, chosen, rejected, choice: storedChoice, rater, externalId }),
    metadata: { ...metadata, ...(externalId === null ? {} : { external_id: externalId }) },
    ...owner,
  };
}

/** Every pair of a tenant as JSON lines; with an aggregation, one of each comparison. */
export async function* exportPreferences(
  db: Database,
  format: ExportFormat,
  tenant: string,
  aggregation: Aggregation | null = null,
): AsyncGenerator<string> {
  const pairs = aggregation ? readMajorities(db, tenant, aggregation) : readPairs(db, tenant);
  for await (const pair of pairs) yield `${formatPair(pair, format)}\n`;
}

/** Totals of a tenant, by choice and by source. Triggers keep them, so that no learned preference is read. */
export async function countPreferences(db: Database, tenant: string) {
  const { source, choice, count } = preference_counts;
  const counts = await db
    .select({ source, choice, count: sum(count).mapWith(Number) })
    .from(preference_counts)
    .where(eq(preference_counts.tenant, tenant))
    .groupBy(source, choice);
  const by = (column: 'choice' | 'source') => {
    const totals: Record<string, number> = {};
    for (const row of counts) totals[row[column]] = (totals[row[column]] ?? 0) + row.count;
    return totals;
  };
  return {
    total: counts.reduce((total, row) => total + row.count, 0),
    pairs_not_yet_seen: await countNewPairsOf(db, tenant),
    raters: await db.$count(voters, eq(voters.tenant, tenant)),
    by_choice: by('choice'),
    by_source: by('source'),
  };
}
