// A policy store on any service that keeps objects under keys: `<id>/<file>` for each file and `<id>/policy.json` last,
// put only where no other is there. Until then readers see no package, so an interrupted upload is invisible, and is
// written over when it is repeated. Files are sent in pieces; none is ever held whole unless it is smaller than one.

import {
  damagedPolicy,
  formatManifest,
  isPackagePath,
  MANIFEST_FILE,
  type Manifest,
  parseManifest,
} from '../package/manifest.ts';
import { cut } from './chunk.ts';
import { digestOf } from './digest.ts';
import { checked, isPolicyId, missingPolicy, type PolicyStore, takenPolicy } from './store.ts';

export type ObjectService = {
  readonly place: string;
  /** Null where there is no object of this key. */
  get(key: string): Promise<StoredObject | null>;
  /** The service refuses bytes of another digest. False where the object was to be new and the key is taken. */
  put(key: string, bytes: Uint8Array<ArrayBuffer>, options: PutOptions): Promise<boolean>;
  /** An object in parts of one size, the last one shorter; not there before `complete`. */
  startUpload(key: string): Promise<Upload>;
  /** Keys of whole objects. */
  list(prefix: string): Promise<string[]>;
  remove(keys: string[]): Promise<void>;
  /** Gives up uploads that were started and never completed, where the service can tell of them. */
  abortUploads(prefix: string): Promise<void>;
};

export type StoredObject = { body: ReadableStream<Uint8Array> /** as `put` was told */; sha256: string | undefined };
export type PutOptions = { sha256: string; isNew?: boolean };
export type Upload = {
  /** Parts are counted from 1. */
  part(number: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  complete(): Promise<void>;
  abort(): Promise<void>;
};

/** S3 and R2 want parts of 5 MiB or more, and at most 10,000 of them. */
const PART_BYTES = 8 * 2 ** 20;
const MOST_PARTS = 10_000;

export function openObjectStore(service: ObjectService): PolicyStore {
  const { place } = service;

  async function readManifest(id: string): Promise<Manifest | null> {
    const stored = isPolicyId(id) ? await service.get(`${id}/${MANIFEST_FILE}`) : null;
    if (!stored) return null;
    const bytes = new Uint8Array(await new Response(stored.body as BodyInit).arrayBuffer());
    // No manifest lists itself, so its digest lies beside it. A package that people copied there by hand has none.
    if (stored.sha256 !== undefined && stored.sha256 !== digestOf(bytes))
      throw damagedPolicy(id, `${MANIFEST_FILE} is not what was stored`);
    const manifest = parseManifest(new TextDecoder().decode(bytes));
    if (manifest.id !== id) throw damagedPolicy(id, `${MANIFEST_FILE} is that of ${manifest.id}`);
    return manifest;
  }

  async function writeFile(manifest: Manifest, file: string, stream: ReadableStream<Uint8Array>): Promise<void> {
    const { bytes, sha256 } = manifest.files[file]!;
    const key = `${manifest.id}/${file}`;
    const size = Math.max(PART_BYTES, Math.ceil(bytes / MOST_PARTS));
    const pieces = cut(checked(stream, manifest, file), size);
    if (bytes <= size) {
      let whole = new Uint8Array(0);
      for await (const piece of pieces) whole = piece;
      await service.put(key, whole, { sha256 });
      return;
    }
    const upload = await service.startUpload(key);
    try {
      let number = 0;
      for await (const piece of pieces) await upload.part(++number, piece);
      await upload.complete();
    } catch (error) {
      // What is wrong has been found already; parts that stay behind are invisible.
      await upload.abort().catch(() => {});
      throw error;
    }
  }

  return {
    place,
    manifest: readManifest,
    async read(id, file) {
      const stored = isPolicyId(id) && isPackagePath(file) ? await service.get(`${id}/${file}`) : null;
      if (stored) return stored.body;
      throw (await readManifest(id)) ? damagedPolicy(id, `file ${file} is missing`) : missingPolicy(id, place);
    },
    async write(manifest, open) {
      const { id } = manifest;
      if (!isPolicyId(id)) throw new Error(`internal: ${id} is no policy's id`);
      if (await readManifest(id)) throw takenPolicy(id, place);
      for (const file of Object.keys(manifest.files)) await writeFile(manifest, file, await open(file));
      const text = new TextEncoder().encode(formatManifest(manifest));
      if (await service.put(`${id}/${MANIFEST_FILE}`, text, { sha256: digestOf(text), isNew: true })) return;
      // Ours may be the one that is there: its answer was lost and it was sent again.
      const there = await readManifest(id);
      if (!there || formatManifest(there) !== formatManifest(manifest)) throw takenPolicy(id, place);
    },
    async discard(id) {
      if (!isPolicyId(id)) throw new Error(`internal: ${id} is no policy's id`);
      await service.abortUploads(`${id}/`);
      const keys = await service.list(`${id}/`);
      if (keys.length > 0 && !keys.includes(`${id}/${MANIFEST_FILE}`)) await service.remove(keys);
    },
  };
}
