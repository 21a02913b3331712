// A policy store in memory: the code of the R2 and S3 bindings on the simplest object service.

import { type ObjectService, openObjectStore } from '../shared/store/object-store.ts';
import type { PolicyStore } from '../shared/store/store.ts';

/** `objects`: the stored bytes by key, for tests that damage them. */
type MemoryStore = PolicyStore & { objects: Map<string, Uint8Array<ArrayBuffer>> };

export function openMemoryStore(): MemoryStore {
  const objects = new Map<string, Uint8Array<ArrayBuffer>>();
  const digests = new Map<string, string>();
  const service: ObjectService = {
    location: 'memory',
    async get(key) {
      const bytes = objects.get(key);
      return bytes ? { body: new Response(bytes).body!, sha256: digests.get(key) } : null;
    },
    async put(key, bytes, { sha256, ifAbsent }) {
      if (ifAbsent && objects.has(key)) return false;
      objects.set(key, bytes.slice());
      digests.set(key, sha256);
      return true;
    },
    async startUpload(key) {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      return {
        async part(number, bytes) {
          parts[number - 1] = bytes.slice();
        },
        complete: async () => void objects.set(key, new Uint8Array(await new Blob(parts).arrayBuffer())),
        abort: async () => {},
      };
    },
    list: async (prefix) => [...objects.keys()].filter((key) => key.startsWith(prefix)),
    remove: async (keys) => {
      for (const key of keys) objects.delete(key);
    },
    abortUploads: async () => {},
  };
  return { ...openObjectStore(service), objects };
}
