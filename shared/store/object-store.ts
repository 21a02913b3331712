// A policy store on any service that keeps objects under keys: `<id>/<file>` for each file, then `<id>/policy.json` with a
// condition that none exists. A package is visible once policy.json is, so an interrupted upload is invisible and a
// repeated one overwrites it. Files are sent in parts, of which one is in memory at a time.

import { sha256 } from '../digest.ts';
import {
  damagedPolicy,
  formatManifest,
  isPackagePath,
  MANIFEST_FILE,
  type Manifest,
  parseManifest,
} from '../package/manifest.ts';
import { duplicatePolicy, isPackageId, missingPackage, type PolicyStore, verifyStream } from './store.ts';

export type ObjectService = {
  /** for messages: `s3://bucket/prefix` */
  readonly location: string;
  /** Null if there is no object under this key. */
  get(key: string): Promise<StoredObject | null>;
  /** The service rejects bytes with another digest. Returns false if `ifAbsent` is set and the key exists. */
  put(key: string, bytes: Uint8Array<ArrayBuffer>, options: PutOptions): Promise<boolean>;
  /** Starts an object of equal parts, the last one shorter; it does not exist before `complete`. */
  startUpload(key: string): Promise<Upload>;
  /** Keys of complete objects. */
  list(prefix: string): Promise<string[]>;
  remove(keys: string[]): Promise<void>;
  /** Aborts uploads that were never completed, if the service can list them. */
  abortUploads(prefix: string): Promise<void>;
};

export type StoredObject = {
  body: ReadableStream<Uint8Array>;
  /** as given to `put` */
  sha256: string | undefined;
};
export type PutOptions = { sha256: string; ifAbsent?: boolean };
export type Upload = {
  /** Parts are numbered from 1. */
  part(number: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  complete(): Promise<void>;
  abort(): Promise<void>;
};

/** S3 and R2 require parts of at least 5 MiB, and at most 10,000 of them. */
const MIN_PART_BYTES = 8 * 2 ** 20;
const MAX_PARTS = 10_000;

export function openObjectStore(service: ObjectService): PolicyStore {
  const { location } = service;

  async function readManifest(id: string): Promise<Manifest | null> {
    const stored = isPackageId(id) ? await service.get(`${id}/${MANIFEST_FILE}`) : null;
    if (!stored) return null;
    const bytes = new Uint8Array(await new Response(stored.body as BodyInit).arrayBuffer());
    // A manifest cannot list itself, so its digest is stored as metadata; a package copied there by hand has none.
    if (stored.sha256 !== undefined && stored.sha256 !== sha256(bytes))
      throw damagedPolicy(id, `${MANIFEST_FILE} is not what was stored`);
    const manifest = parseManifest(new TextDecoder().decode(bytes));
    if (manifest.id !== id) throw damagedPolicy(id, `${MANIFEST_FILE} belongs to ${manifest.id}`);
    return manifest;
  }

  async function writeFile(manifest: Manifest, file: string, stream: ReadableStream<Uint8Array>): Promise<void> {
    const entry = manifest.files[file]!;
    const key = `${manifest.id}/${file}`;
    const partBytes = Math.max(MIN_PART_BYTES, Math.ceil(entry.bytes / MAX_PARTS));
    const parts = splitStream(verifyStream(stream, manifest, file), partBytes);
    if (entry.bytes <= partBytes) {
      let whole = new Uint8Array(0);
      for await (const part of parts) whole = part;
      await service.put(key, whole, { sha256: entry.sha256 });
      return;
    }
    const upload = await service.startUpload(key);
    try {
      let number = 0;
      for await (const part of parts) await upload.part(++number, part);
      await upload.complete();
    } catch (error) {
      // The first error is the cause; parts that remain are invisible.
      await upload.abort().catch(() => {});
      throw error;
    }
  }

  return {
    location,
    manifest: readManifest,
    async read(id, file) {
      const stored = isPackageId(id) && isPackagePath(file) ? await service.get(`${id}/${file}`) : null;
      if (stored) return stored.body;
      throw (await readManifest(id)) ? damagedPolicy(id, `file ${file} is missing`) : missingPackage(id, location);
    },
    async write(manifest, open) {
      const { id } = manifest;
      assertPolicyId(id);
      if (await readManifest(id)) throw duplicatePolicy(id, location);
      for (const file of Object.keys(manifest.files)) await writeFile(manifest, file, await open(file));
      const text = new TextEncoder().encode(formatManifest(manifest));
      if (await service.put(`${id}/${MANIFEST_FILE}`, text, { sha256: sha256(text), ifAbsent: true })) return;
      // The existing one may be this one: the response was lost and the request was repeated.
      const existing = await readManifest(id);
      if (!existing || formatManifest(existing) !== formatManifest(manifest)) throw duplicatePolicy(id, location);
    },
    async discard(id) {
      assertPolicyId(id);
      await service.abortUploads(`${id}/`);
      const keys = await service.list(`${id}/`);
      if (keys.length > 0 && !keys.includes(`${id}/${MANIFEST_FILE}`)) await service.remove(keys);
    },
  };
}

function assertPolicyId(id: string): void {
  if (!isPackageId(id)) throw new Error(`internal: ${id} is not a package's id`);
}

/** Splits a stream into parts of `partBytes`, the last one shorter; an empty stream gives none. Holds one part and one chunk. */
async function* splitStream(
  stream: ReadableStream<Uint8Array>,
  partBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let part = new Uint8Array(partBytes);
  let filled = 0;
  for await (let chunk of stream) {
    while (chunk.length > 0) {
      const head = chunk.subarray(0, partBytes - filled);
      part.set(head, filled);
      filled += head.length;
      chunk = chunk.subarray(head.length);
      if (filled < partBytes) continue;
      yield part;
      // A new buffer, since the consumer may still be sending the last one.
      part = new Uint8Array(partBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}
