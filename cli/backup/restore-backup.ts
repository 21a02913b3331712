// Restores a backup into an empty database and the policy store of the settings. The file is verified as a whole first.
// Packages come before rows, and all rows and tables in one transaction: what fails can be repeated.

import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { TransactionSql } from 'postgres';
import { connect } from '../../shared/database/connect.ts';
import { acquireLock, LOCKS } from '../../shared/database/lock.ts';
import { applyMigrations, newerSchema, readMigrations } from '../../shared/database/migrate.ts';
import { AttuneError } from '../../shared/error.ts';
import { MANIFEST_FILE, type Manifest, parseManifest } from '../../shared/package/manifest.ts';
import type { Settings } from '../../shared/settings.ts';
import { openRemoteStore } from '../../shared/store/configured-store.ts';
import { writePackageFolder } from '../../shared/store/copy-package.ts';
import { type LocalStore, openLocalStoreAt, policiesFolder } from '../../shared/store/local-store.ts';
import { type BackupHeader, type ByteListener, readArchive } from './archive.ts';

/** `header`: of the verified file. `migrations`: those of this version. */
export async function restoreBackup(
  file: string,
  header: BackupHeader,
  { settings, databaseUrl }: { settings: Settings; databaseUrl: string },
  onBytes: ByteListener = () => {},
  migrations = readMigrations(),
): Promise<{ policies: number }> {
  const newest = migrations.at(-1)!;
  if (header.migration > newest.folderMillis) throw newerSchema(`${file} is a backup of ${header.version}`, newest);
  const lock = await acquireLock(databaseUrl, LOCKS.migrate);
  const connection = connect(databaseUrl, { name: 'attune restore', max: 1 });
  try {
    await connection.sql.begin((transaction) => refuseTables(transaction, header));
    const policies = await restorePackages(file, settings, onBytes);
    await connection.sql.begin(async (transaction) => {
      await refuseTables(transaction, header);
      await transaction`set local statement_timeout = 0`;
      await transaction`set local datestyle = 'ISO'`;
      await applyMigrations(
        transaction,
        migrations.filter(({ folderMillis }) => folderMillis <= header.migration),
      );
      await restoreRows(transaction, file, header, onBytes);
      // Migrations change the rows of earlier versions.
      await applyMigrations(transaction, migrations);
    });
    await connection.sql`analyze`;
    return { policies };
  } finally {
    await connection.close();
    await lock.release();
  }
}

async function refuseTables(transaction: TransactionSql, { tables }: BackupHeader): Promise<void> {
  const names = ['drizzle.__drizzle_migrations', ...tables.map(({ name }) => `public.${name}`)];
  const [existing] = await transaction`
    select name from unnest(string_to_array(${names.join()}, ',')) as name where to_regclass(name) is not null limit 1`;
  if (existing)
    throw new AttuneError(
      `restore: Postgres is not empty: it has the table ${existing.name}; give an ATTUNE_HOME without data, or a new database in DATABASE_URL`,
      { code: 'not_empty' },
    );
}

/** Publishes the packages, except those that are there already. Returns how many there are. */
async function restorePackages(file: string, settings: Settings, onBytes: ByteListener): Promise<number> {
  const manifests = new Map<string, Manifest>();
  const store = await openLocalStoreAt(policiesFolder(settings), await openRemoteStore(settings), {
    getPublished: async (id) => manifests.get(id)!,
  });
  const entries = readArchive(file);
  for await (const entry of entries) {
    const id = /^policies\/(\w+)\/policy\.json$/.exec(entry.header.name)?.[1];
    if (!id) {
      entry.resume();
      continue;
    }
    const manifest = parseManifest(await text(entry));
    manifests.set(id, manifest);
    if (await hasPackage(store, id)) continue;
    const staging = await store.createStaging();
    try {
      await writePackageFolder(staging, manifest, async (name) => {
        const { value: content } = await entries.next();
        if (content?.header.name !== `policies/${id}/${name}`)
          throw new Error(`internal: ${name} of ${id} does not follow its ${MANIFEST_FILE}`);
        onBytes(content.header.size ?? 0, content.header.name);
        return Readable.toWeb(Readable.from(content)) as ReadableStream<Uint8Array>;
      });
      await store.publish(staging, id);
      await store.trim();
    } finally {
      await store.discardStaging(staging);
    }
  }
  return manifests.size;
}

async function hasPackage(store: LocalStore, id: string): Promise<boolean> {
  try {
    await store.getFolder(id);
    return true;
  } catch (error) {
    if (error instanceof AttuneError && error.code === 'model_not_found') return false;
    throw error;
  }
}

async function restoreRows(
  transaction: TransactionSql,
  file: string,
  { tables }: BackupHeader,
  onBytes: ByteListener,
): Promise<void> {
  // Migrations fill some tables, for example with new secrets.
  await transaction.unsafe(`truncate ${tables.map(({ name }) => `"${name}"`).join(', ')}`);
  // What triggers count is in the backup.
  for (const { name } of tables) await transaction.unsafe(`alter table "${name}" disable trigger user`);
  for await (const entry of readArchive(file)) {
    const [, name] = /^tables\/(\w+)\/\d+$/.exec(entry.header.name) ?? [];
    const table = tables.find((table) => table.name === name);
    if (!table) {
      entry.resume();
      continue;
    }
    const columns = table.columns.map((name) => `"${name}"`).join(', ');
    const sink = await transaction.unsafe(`copy "${table.name}" (${columns}) from stdin`).writable();
    await pipeline(entry, sink);
    onBytes(entry.header.size ?? 0, entry.header.name);
  }
  for (const { name } of tables) {
    await transaction.unsafe(`alter table "${name}" enable trigger user`);
    await advanceSequences(transaction, name);
  }
}

/** The next row gets an id above those that were restored. */
async function advanceSequences(transaction: TransactionSql, table: string): Promise<void> {
  const columns = await transaction`
    select attname as column, pg_get_serial_sequence(${table}, attname) as sequence
    from pg_attribute where attrelid = ${table}::regclass and attnum > 0 and not attisdropped`;
  for (const { column, sequence } of columns)
    if (sequence)
      await transaction.unsafe(`select setval('${sequence}', max("${column}")) from "${table}" having count(*) > 0`);
}
