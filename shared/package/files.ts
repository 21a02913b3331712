// A policy package in a local folder: reads and writes policy.json, computes and verifies file digests.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import {
  damagedPolicy,
  formatManifest,
  invalidPolicy,
  MANIFEST_FILE,
  type Manifest,
  parseManifest,
} from './manifest.ts';

export async function readManifest(folder: string): Promise<Manifest> {
  const text = await readFile(join(folder, MANIFEST_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT')
      throw invalidPolicy(`${MANIFEST_FILE} is missing; this folder is not a policy package`);
    throw error;
  });
  return parseManifest(text);
}

/** Flushed to disk. Write it last: a package with a policy.json is complete. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFile(join(folder, MANIFEST_FILE), formatManifest(manifest), { flush: true });
}

/** The path of a file in a package; names in manifests have forward slashes. */
export function packageFilePath(folder: string, name: string): string {
  return join(folder, ...name.split('/'));
}

/** SHA-256 and size of a file, read as a stream. */
export async function hashFile(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { sha256: hash.digest('hex'), bytes };
}

/** Digests of all files below the folder, sorted by path. Each file is fsynced first. */
export async function hashFiles(folder: string): Promise<Manifest['files']> {
  const files: Manifest['files'] = {};
  for (const name of await listFiles(folder)) {
    await fsyncPath(packageFilePath(folder, name));
    files[name] = await hashFile(packageFilePath(folder, name));
  }
  return files;
}

/**
 * Throws AttuneError for the first file that is missing or has another size than in the manifest, and for the first of `names`
 * whose SHA-256 differs.
 */
export async function verifyFiles(
  folder: string,
  manifest: Manifest,
  names = Object.keys(manifest.files),
): Promise<void> {
  // Sizes first: cheap, and enough to detect most damage.
  for (const [name, { bytes }] of Object.entries(manifest.files)) {
    const stats = await stat(packageFilePath(folder, name)).catch(() => undefined);
    if (!stats?.isFile()) throw damagedPolicy(manifest.id, `file ${name} is missing`);
    if (stats.size !== bytes)
      throw damagedPolicy(manifest.id, `file ${name} has ${stats.size} bytes, expected ${bytes}`);
  }
  for (const name of names) {
    const { sha256 } = manifest.files[name]!;
    const actual = await hashFile(packageFilePath(folder, name));
    if (actual.sha256 !== sha256)
      throw damagedPolicy(manifest.id, `file ${name} has SHA-256 ${actual.sha256}, expected ${sha256}`);
  }
}

/** Fsyncs the folder and every folder below it, so that their entries are durable. */
export async function fsyncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await fsyncPath(join(entry.parentPath, entry.name));
  await fsyncPath(folder);
}

/** Fsyncs a file or a folder. */
export async function fsyncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, sep).length).replaceAll(sep, '/'))
    .filter((name) => name !== MANIFEST_FILE && !name.endsWith('.partial'))
    .sort();
}
