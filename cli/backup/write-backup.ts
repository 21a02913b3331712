// A backup of everything that Attune stores: the rows of all tables as one transaction sees them, and the packages of
// those policies. It locks nothing, so the API serves and a round trains meanwhile.

import { createReadStream } from 'node:fs';
import path from 'node:path';
import { getTableColumns, getTableName, is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import type { TransactionSql } from 'postgres';
import type { Connection } from '../../shared/database/connect.ts';
import { describeVersion, readMigrations } from '../../shared/database/migrate.ts';
import * as schema from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { packageFilePath, readManifest } from '../../shared/package/files.ts';
import { formatManifest, MANIFEST_FILE } from '../../shared/package/manifest.ts';
import type { LocalStore } from '../../shared/store/local-store.ts';
import { type BackupHeader, type BackupWriter, type ByteListener, writeArchive } from './archive.ts';

type BackupTable = BackupHeader['tables'][number];

/** Rows are written in parts of about this size: a tar states the size of an entry before its content. */
const PART_BYTES = 8 * 2 ** 20;

/** `leftOut`: what is wrong with each package that is missing or damaged, by its policy. */
export type BackupReport = { rows: number; policies: number; leftOut: Map<string, string> };

export async function writeBackup(
  { sql }: Connection,
  store: LocalStore,
  file: string,
  onBytes: ByteListener = () => {},
): Promise<BackupReport> {
  const newest = readMigrations().at(-1)!;
  const tables = listTables();
  const header: BackupHeader = {
    format: 1,
    version: describeVersion(newest),
    created_at: new Date().toISOString(),
    migration: newest.folderMillis,
    tables,
  };
  const report: BackupReport = { rows: 0, policies: 0, leftOut: new Map() };
  await writeArchive(file, header, onBytes, async (writer) => {
    const { ids, activeId } = await sql.begin('isolation level repeatable read read only', async (transaction) => {
      await transaction`set local statement_timeout = 0`;
      await transaction`set local idle_in_transaction_session_timeout = 0`;
      await transaction`set local datestyle = 'ISO'`;
      for (const table of tables) report.rows += await copyRows(transaction, writer, table);
      const rows = await transaction<{ id: string }[]>`select id from policies order by id`;
      const [active] = await transaction`select policy_id from activations order by id desc limit 1`;
      return { ids: rows.map(({ id }) => id), activeId: active?.policy_id };
    });
    // Every package is complete before its policy has a row, and never changes.
    for (const id of ids) {
      try {
        await copyPackage(writer, id, await store.getFolder(id));
        report.policies++;
      } catch (error) {
        if (!(error instanceof AttuneError) || id === activeId) throw error;
        report.leftOut.set(id, error.message);
      }
      await store.trim();
    }
  });
  return report;
}

/**
 * The tables of this version, each after those that it refers to. Transactions are numbered by their server: rows get
 * the number of the transaction that restores them.
 */
function listTables(): BackupTable[] {
  const tables: PgTable[] = Object.values<unknown>(schema).filter((value) => is(value, PgTable));
  const listed = new Set<PgTable>();
  const list = (table: PgTable) => {
    if (listed.has(table)) return;
    for (const { reference } of getTableConfig(table).foreignKeys) {
      const { foreignTable } = reference();
      if (foreignTable !== table) list(foreignTable);
    }
    listed.add(table);
  };
  tables.forEach(list);
  return Array.from(listed, (table) => ({
    name: getTableName(table),
    columns: Object.values(getTableColumns(table))
      .filter((column) => column.getSQLType() !== 'xid8')
      .map(({ name }) => name),
  }));
}

async function copyRows(transaction: TransactionSql, writer: BackupWriter, table: BackupTable): Promise<number> {
  let rows = 0;
  let parts = 0;
  let part: Buffer[] = [];
  let bytes = 0;
  const addPart = async () => {
    await writer.add(`tables/${table.name}/${++parts}`, bytes, part);
    part = [];
    bytes = 0;
  };
  const columns = table.columns.map((name) => `"${name}"`).join(', ');
  // The driver hands over whole rows, several at once.
  for await (const chunk of await transaction.unsafe(`copy "${table.name}" (${columns}) to stdout`).readable()) {
    rows += countLines(chunk);
    part.push(chunk);
    bytes += chunk.length;
    if (bytes >= PART_BYTES) await addPart();
  }
  if (bytes > 0) await addPart();
  return rows;
}

/** Each row ends with a newline; those of its values are escaped. */
function countLines(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  return lines;
}

async function copyPackage(writer: BackupWriter, id: string, folder: string): Promise<void> {
  const manifest = await readManifest(folder);
  const text = Buffer.from(formatManifest(manifest));
  await writer.add(`policies/${id}/${MANIFEST_FILE}`, text.length, [text]);
  for (const [name, { bytes }] of Object.entries(manifest.files))
    await writer.add(
      path.posix.join('policies', id, name),
      bytes,
      createReadStream(packageFilePath(folder, name), { highWaterMark: 1 << 20 }),
    );
}
