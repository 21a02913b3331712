// Where policy packages are kept for everybody: one interface, of which folder.ts, r2.ts and s3.ts are the bindings. A
// package is visible whole or not at all and never changes after. Runs on Node and in a Worker; imports nothing of either.

import { createHash } from 'node:crypto';
import { AttuneError } from '../error.ts';
import { damagedPolicy, type Manifest } from '../package/manifest.ts';

export interface PolicyStore {
  /** Where it is, for people: a folder's path, `s3://bucket/prefix`. */
  readonly location: string;
  /** What the package holds, or null where the store has no whole package of this id. */
  manifest(id: string): Promise<Manifest | null>;
  /** One file as it is stored. Nobody has checked it: `openFile` and `readFile` do. */
  read(id: string, file: string): Promise<ReadableStream<Uint8Array>>;
  /**
   * Stores every file of the manifest and policy.json after them, so that until all is there nothing is. Refuses a
   * stream that is not what the manifest says, and an id that the store has already. One that failed can be repeated.
   */
  write(manifest: Manifest, open: OpenFile): Promise<void>;
  /** Removes what an interrupted write left. A whole package stays. */
  discard(id: string): Promise<void>;
}

/** Whether an error says that the store cannot be reached, which passes. */
export function isStoreUnreachable(error: unknown): error is AttuneError {
  return error instanceof AttuneError && error.code === 'policy_store_unreachable';
}

export type OpenFile = (file: string) => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>;

/** A file of a package of the store. The stream fails, at its end at the latest, unless it is what the manifest says. */
export async function openFile(
  store: PolicyStore,
  manifest: Manifest,
  file: string,
): Promise<ReadableStream<Uint8Array>> {
  return verifyStream(await store.read(manifest.id, file), manifest, file);
}

/** A file of a package of the store as a whole, checked. */
export async function readFile(store: PolicyStore, manifest: Manifest, file: string): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(entryOf(manifest, file).bytes);
  let at = 0;
  for await (const chunk of await openFile(store, manifest, file)) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The same bytes, passed on as they come; the stream fails where they are not the file that the manifest lists. */
export function verifyStream(
  stream: ReadableStream<Uint8Array>,
  manifest: Manifest,
  file: string,
): ReadableStream<Uint8Array> {
  const expected = entryOf(manifest, file);
  const digest = createHash('sha256');
  let bytes = 0;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length;
        if (bytes > expected.bytes)
          throw damagedPolicy(manifest.id, `file ${file} has more than ${expected.bytes} bytes`);
        digest.update(chunk);
        controller.enqueue(chunk);
      },
      flush() {
        if (bytes !== expected.bytes)
          throw damagedPolicy(manifest.id, `file ${file} has ${bytes} bytes, not ${expected.bytes}`);
        const sha256 = digest.digest('hex');
        if (sha256 !== expected.sha256)
          throw damagedPolicy(manifest.id, `file ${file} has SHA-256 ${sha256}, not ${expected.sha256}`);
      },
    }),
  );
}

function entryOf(manifest: Manifest, file: string): { sha256: string; bytes: number } {
  const entry = manifest.files[file];
  if (!entry) throw damagedPolicy(manifest.id, `its policy.json lists no file ${file}`);
  return entry;
}

export function isPolicyId(id: string): boolean {
  return /^pol_[0-9a-f]{32}$/.test(id);
}

export function policyNotFoundError(id: string, place: string): AttuneError {
  return new AttuneError(`policy ${id}: its package is not in ${place}`, {
    status: 404,
    param: 'model',
    code: 'model_not_found',
  });
}

/** An id names one package for ever: nothing may be written under it again. */
export function policyExistsError(id: string, place: string): AttuneError {
  return new AttuneError(`policy ${id}: its package is in ${place} already, and an id is never reused`, {
    status: 409,
    code: 'policy_exists',
    retry: false,
  });
}
