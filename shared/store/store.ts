// Where policy packages are kept: one interface, bound to R2 (r2.ts) and S3 (s3.ts). A package is visible as a whole or
// not at all, and never changes. Runs on Node and in a Worker.

import { createHash } from 'node:crypto';
import { AttuneError } from '../error.ts';
import { damagedPolicy, type Manifest } from '../package/manifest.ts';

export interface PolicyStore {
  /** for messages: `s3://bucket/prefix` */
  readonly location: string;
  /** Null if the store has no complete package with this id. */
  manifest(id: string): Promise<Manifest | null>;
  /** A file as stored, unverified: use `openFile` or `readFile`. */
  read(id: string, file: string): Promise<ReadableStream<Uint8Array>>;
  /**
   * Stores every file of the manifest and then policy.json, which makes the package visible. Rejects a stream that differs
   * from the manifest, and an id that exists (`policy_exists`). A failed write can be repeated.
   */
  write(manifest: Manifest, open: OpenFile): Promise<void>;
  /** Removes what an interrupted write left; a complete package stays. */
  discard(id: string): Promise<void>;
}

/** Whether the store could not be reached, so that a retry may succeed. */
export function isStoreUnreachable(error: unknown): error is AttuneError {
  return error instanceof AttuneError && error.code === 'policy_store_unreachable';
}

export type OpenFile = (file: string) => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>;

/** A verified stream of a file. It fails, at its end at the latest, if the bytes differ from the manifest. */
export async function openFile(
  store: PolicyStore,
  manifest: Manifest,
  file: string,
): Promise<ReadableStream<Uint8Array>> {
  return verifyStream(await store.read(manifest.id, file), manifest, file);
}

/** The verified bytes of a file. */
export async function readFile(store: PolicyStore, manifest: Manifest, file: string): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(getEntry(manifest, file).bytes);
  let offset = 0;
  for await (const chunk of await openFile(store, manifest, file)) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

/** Passes the bytes through; fails with `damaged_policy` if their number or digest differs from the manifest. */
export function verifyStream(
  stream: ReadableStream<Uint8Array>,
  manifest: Manifest,
  file: string,
): ReadableStream<Uint8Array> {
  const expected = getEntry(manifest, file);
  const hash = createHash('sha256');
  let bytes = 0;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length;
        if (bytes > expected.bytes)
          throw damagedPolicy(manifest.id, `file ${file} has more than ${expected.bytes} bytes`);
        hash.update(chunk);
        controller.enqueue(chunk);
      },
      flush() {
        if (bytes !== expected.bytes)
          throw damagedPolicy(manifest.id, `file ${file} has ${bytes} bytes, not ${expected.bytes}`);
        const sha256 = hash.digest('hex');
        if (sha256 !== expected.sha256)
          throw damagedPolicy(manifest.id, `file ${file} has SHA-256 ${sha256}, not ${expected.sha256}`);
      },
    }),
  );
}

function getEntry(manifest: Manifest, file: string): { sha256: string; bytes: number } {
  const entry = manifest.files[file];
  if (!entry) throw damagedPolicy(manifest.id, `its policy.json lists no file ${file}`);
  return entry;
}

/** Of a policy or a reward. */
export function isPackageId(id: string): boolean {
  return /^(pol|rwd)_[0-9a-f]{32}$/.test(id);
}

export function missingPackage(id: string, location: string): AttuneError {
  return new AttuneError(`policy ${id}: its package is not in ${location}`, {
    status: 404,
    param: 'model',
    code: 'model_not_found',
  });
}

/** Packages are immutable: an id that is in use cannot be written again. */
export function duplicatePolicy(id: string, location: string): AttuneError {
  return new AttuneError(`policy ${id}: its package is in ${location} already, and an id is never reused`, {
    status: 409,
    code: 'policy_exists',
    retry: false,
  });
}
