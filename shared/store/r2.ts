// The policy store of a Worker: the R2 bucket bound to it. R2 itself rejects bytes with another SHA-256.

import type { R2Bucket } from '@cloudflare/workers-types';
import { AttuneError } from '../error.ts';
import { openObjectStore } from './object-store.ts';
import type { PolicyStore } from './store.ts';

/** Keys begin with the prefix, as with POLICY_STORE=s3://bucket/prefix. */
export function openR2Store(bucket: R2Bucket, prefix = ''): PolicyStore {
  const base = prefix.replace(/^\/+|\/+$/g, '').replace(/.$/, '$&/');
  return openObjectStore({
    location: base ? `the R2 bucket under ${base}` : 'the R2 bucket',
    async get(key) {
      const object = await bucket.get(base + key).catch((error: Error) => {
        throw new AttuneError(`policy store: R2 cannot be read (${error.message}); retry later`, {
          status: 503,
          code: 'policy_store_unreachable',
        });
      });
      if (!object) return null;
      return { body: object.body as unknown as ReadableStream<Uint8Array>, sha256: object.customMetadata?.sha256 };
    },
    async put(key, bytes, { sha256, ifAbsent }) {
      const options = { sha256, customMetadata: { sha256 } };
      if (!ifAbsent) return (await bucket.put(base + key, bytes, options)) !== null;
      return (await bucket.put(base + key, bytes, { ...options, onlyIf: { etagDoesNotMatch: '*' } })) !== null;
    },
    async startUpload(key) {
      const upload = await bucket.createMultipartUpload(base + key);
      const parts: Awaited<ReturnType<typeof upload.uploadPart>>[] = [];
      return {
        async part(number, bytes) {
          parts.push(await upload.uploadPart(number, bytes));
        },
        complete: async () => void (await upload.complete(parts)),
        abort: () => upload.abort(),
      };
    },
    async list(prefix) {
      const keys: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await bucket.list({ prefix: base + prefix, cursor });
        keys.push(...page.objects.map(({ key }) => key.slice(base.length)));
        cursor = page.truncated ? page.cursor : undefined;
      } while (cursor);
      return keys;
    },
    remove: (keys) => bucket.delete(keys.map((key) => base + key)),
    // A binding cannot list unfinished uploads; R2 aborts them after a week.
    abortUploads: async () => {},
  });
}
