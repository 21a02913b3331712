// A package between a folder of this machine and a store, every file checked as it passes.

import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { packageFilePath, readManifest, writeManifest } from '../package/files.ts';
import type { Manifest } from '../package/manifest.ts';
import { type OpenFile, type PolicyStore, verifyStream } from './store.ts';

const CHUNK = 1 << 20;

/** Copies the package in the folder into the store, which then has it whole. */
export async function uploadPackage(store: PolicyStore, folder: string): Promise<void> {
  await store.write(await readManifest(folder), openFilesIn(folder));
}

export function openFilesIn(folder: string): OpenFile {
  return (file) => toWeb(createReadStream(packageFilePath(folder, file), { highWaterMark: CHUNK }));
}

/** Writes the package into a draft, policy.json last. Bytes are on disk when this returns, names when it is settled. */
export async function writePackageFolder(folder: string, manifest: Manifest, openFile: OpenFile): Promise<void> {
  for (const file of Object.keys(manifest.files)) {
    const target = packageFilePath(folder, file);
    await mkdir(path.dirname(target), { recursive: true });
    const handle = await open(target, 'wx');
    try {
      for await (const chunk of verifyStream(await openFile(file), manifest, file)) await handle.appendFile(chunk);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  await writeManifest(folder, manifest);
}

function toWeb(stream: Readable): ReadableStream<Uint8Array> {
  return Readable.toWeb(stream) as ReadableStream<Uint8Array>;
}
