// Copies a package between a folder of this machine and a policy store, verifying every file as it is streamed.

import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { packageFilePath, readManifest, writeManifest } from '../package/files.ts';
import type { Manifest } from '../package/manifest.ts';
import { type OpenFile, type PolicyStore, verifyStream } from './store.ts';

const CHUNK_BYTES = 1 << 20;

/** Copies the package in the folder into the store. `onChunk`: called while it reads; what it throws ends the copy. */
export async function uploadPackage(store: PolicyStore, folder: string, onChunk: () => void = () => {}): Promise<void> {
  onChunk();
  await store.write(await readManifest(folder), openFilesIn(folder, onChunk));
}

function openFilesIn(folder: string, onChunk: () => void): OpenFile {
  return (file) => {
    const stream = createReadStream(packageFilePath(folder, file), { highWaterMark: CHUNK_BYTES });
    return (Readable.toWeb(stream) as ReadableStream<Uint8Array>).pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          onChunk();
          controller.enqueue(chunk);
        },
      }),
    );
  };
}

/** Writes the package into a staging folder, policy.json last. Each file is on disk when this returns. */
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
