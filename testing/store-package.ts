// Policy packages with arbitrary files and a correct manifest, for tests of the policy store.

import { sha256 } from '../shared/digest.ts';
import { newId } from '../shared/id.ts';
import type { Manifest } from '../shared/package/manifest.ts';
import type { OpenFile } from '../shared/store/store.ts';
import { tinyArchitecture } from './tiny-checkpoint.ts';

export type TestPackage = { manifest: Manifest; open: OpenFile; files: Record<string, Uint8Array> };

/** A valid manifest of an imported fp32 policy without files. */
export function makeManifest(overrides: Partial<Manifest> = {}): Manifest {
  return {
    format: 1,
    kind: 'policy',
    id: newId('pol_'),
    parent: null,
    reference: null,
    name: 'test',
    objective: null,
    pairs: null,
    metrics: {},
    architecture: tinyArchitecture(),
    serving: { precision: 'fp32', accuracy: {} },
    tokenizer_hash: sha256('tokenizer'),
    files: {},
    created_at: new Date().toISOString(),
    source: 'test',
    ...overrides,
  };
}

export function makePackage(files: Record<string, Uint8Array>, id = newId('pol_')): TestPackage {
  const manifest = makeManifest({
    id,
    files: Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [name, { sha256: sha256(bytes), bytes: bytes.length }]),
    ),
  });
  return { manifest, files, open: (file) => toStream(files[file]!) };
}

/** Chunks have an odd size, so that they do not align with upload parts. `failAt`: the offset from which reading fails. */
export function toStream(bytes: Uint8Array, failAt = Number.POSITIVE_INFINITY): ReadableStream<Uint8Array> {
  const chunkBytes = 99_991;
  let offset = 0;
  return new ReadableStream({
    pull(controller) {
      if (offset >= failAt) throw new Error('the disk was pulled out');
      if (offset >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(offset, offset + chunkBytes));
      offset += chunkBytes;
    },
  });
}

/** Incompressible bytes, the same for the same length. */
export function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
