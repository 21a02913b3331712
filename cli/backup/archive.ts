// The file of a backup: a tar with backup.json first, then the rows and the policies, and the SHA-256 of every entry last.
// A file that was cut, or of which any entry changed, is recognized before anything is restored from it.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, rmSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import tar, { type Extract } from 'tar-stream';
import { z } from 'zod';
import { AttuneError } from '../../shared/error.ts';
import { fsyncPath } from '../../shared/package/files.ts';

const HEADER_FILE = 'backup.json';
const CHECKSUMS_FILE = 'checksums.json';

const headerSchema = z.object({
  format: z.literal(1),
  /** of the Attune that wrote it, in words */
  version: z.string(),
  created_at: z.iso.datetime(),
  /** when the last migration of its tables was made */
  migration: z.int(),
  /** in an order in which each one refers only to those before it */
  tables: z.array(z.object({ name: z.string(), columns: z.array(z.string()) })),
});
export type BackupHeader = z.output<typeof headerSchema>;

const checksumsSchema = z.array(z.object({ name: z.string(), bytes: z.int(), sha256: z.string() }));

/** Called with the number of bytes that were written or read since the last call, and what they belong to. */
export type ByteListener = (bytes: number, name: string) => void;

export type BackupWriter = {
  add(name: string, bytes: number, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void>;
};

/**
 * Writes a backup into `file`, which exists only once it is complete and on disk. `fill` adds the entries; if it throws,
 * nothing remains.
 */
export async function writeArchive(
  file: string,
  header: BackupHeader,
  onBytes: ByteListener,
  fill: (writer: BackupWriter) => Promise<void>,
): Promise<void> {
  await refuseExisting(file);
  const partial = `${file}.partial`;
  const handle = await open(partial, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST')
      throw new AttuneError(`backup: ${partial} exists: another backup is running, or one was killed; remove it`);
    throw new AttuneError(`backup: ${error.message}`);
  });
  const removePartial = () => rmSync(partial, { force: true });
  // Also if a signal ends the process.
  process.once('exit', removePartial);
  const pack = tar.pack();
  try {
    const written = pipeline(pack, createWriteStream(partial, { fd: handle.fd, autoClose: false }));
    const failed = written.then(() => new Promise<never>(() => {}));
    failed.catch(() => {});
    const checksums: z.output<typeof checksumsSchema> = [];
    const add: BackupWriter['add'] = async (name, bytes, content) => {
      const hash = createHash('sha256');
      const entry = pack.entry({ name, size: bytes, mode: 0o600 });
      for await (const chunk of content) {
        hash.update(chunk);
        onBytes(chunk.length, name);
        if (!entry.write(chunk)) await Promise.race([once(entry, 'drain'), failed]);
      }
      entry.end(null);
      await Promise.race([once(entry, 'close'), failed]);
      checksums.push({ name, bytes, sha256: hash.digest('hex') });
    };
    const addJson = (name: string, value: unknown) => {
      const bytes = Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
      return add(name, bytes.length, [bytes]);
    };
    await addJson(HEADER_FILE, header);
    await fill({ add });
    await addJson(CHECKSUMS_FILE, [...checksums]);
    pack.finalize();
    await written;
    await handle.sync();
    await handle.close();
    await refuseExisting(file);
    await rename(partial, file);
    await fsyncPath(path.dirname(file));
  } catch (error) {
    pack.destroy();
    await handle.close().catch(() => {});
    removePartial();
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
      throw new AttuneError(`backup: the disk of ${file} is full; nothing was written`, { code: 'disk_full' });
    throw error;
  } finally {
    process.off('exit', removePartial);
  }
}

async function refuseExisting(file: string): Promise<void> {
  const exists = await open(file).then(
    (handle) => handle.close().then(() => true),
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
  if (exists) throw new AttuneError(`backup: ${file} exists already; give another name, or remove it`);
}

type Entry = Extract extends AsyncIterable<infer Item> ? Item : never;

/** The entries in order. Each one has to be read, or skipped with `resume()`, before the next. */
export async function* readArchive(file: string): AsyncGenerator<Entry> {
  const extract = tar.extract();
  // The error reaches the loop below through `extract`.
  pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), extract).catch(() => {});
  yield* extract;
}

/** Reads the whole file. Throws `damaged_backup` unless every entry is as it was written and none is missing. */
export async function verifyArchive(file: string, onBytes: ByteListener): Promise<BackupHeader> {
  const damaged = (problem: string) =>
    new AttuneError(`restore: ${file} is damaged: ${problem}; use another backup`, { code: 'damaged_backup' });
  const found: z.output<typeof checksumsSchema> = [];
  let header: BackupHeader | undefined;
  let checksums: z.output<typeof checksumsSchema> | undefined;
  try {
    for await (const entry of readArchive(file)) {
      const { name } = entry.header;
      if (checksums) throw damaged(`${name} follows after its end`);
      if (found.length === 0 && name !== HEADER_FILE)
        throw new AttuneError(`restore: ${file} is not a backup; give a file that \`attune backup\` wrote`);
      if (name === CHECKSUMS_FILE) {
        checksums = checksumsSchema.parse(JSON.parse((await buffer(entry)).toString()));
        continue;
      }
      const hash = createHash('sha256');
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of entry as AsyncIterable<Buffer>) {
        hash.update(chunk);
        bytes += chunk.length;
        onBytes(chunk.length, name);
        if (name === HEADER_FILE) parts.push(chunk);
      }
      if (name === HEADER_FILE) header = parseHeader(file, Buffer.concat(parts).toString());
      found.push({ name, bytes, sha256: hash.digest('hex') });
    }
  } catch (error) {
    if (error instanceof AttuneError) throw error;
    if ((error as NodeJS.ErrnoException).syscall) throw new AttuneError(`restore: ${(error as Error).message}`);
    throw damaged((error as Error).message);
  }
  if (!header) throw new AttuneError(`restore: ${file} is not a backup; give a file that \`attune backup\` wrote`);
  if (!checksums) throw damaged('its end is missing');
  for (const [at, entry] of checksums.entries())
    if (JSON.stringify(found[at]) !== JSON.stringify(entry)) throw damaged(`${entry.name} is not what was written`);
  if (found.length > checksums.length) throw damaged(`${found[checksums.length]!.name} is not among what was written`);
  return header;
}

function parseHeader(file: string, text: string): BackupHeader {
  const parsed = headerSchema.safeParse(JSON.parse(text));
  if (parsed.success) return parsed.data;
  throw new AttuneError(`restore: ${file} has another format; restore it with the version of Attune that wrote it`);
}
