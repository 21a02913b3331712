// SHA-256 as lower-case hex, in Node and in a Worker (nodejs_compat has node:crypto).

import { createHash, createHmac } from 'node:crypto';

export function sha256(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Digest of an ordered list. Each text's length is hashed too, so that ["ab"] and ["a", "b"] differ. */
export function hashList(texts: Iterable<string>): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${Buffer.byteLength(text)}:`).update(text);
  return hash.digest('hex');
}

/** Digest of a JSON value, independent of the order of keys. */
export function hashContent(value: unknown): string {
  return sha256(toCanonicalJson(value));
}

/** As hashContent, but only who has the secret can compute it (HMAC). */
export function hashContentWith(secret: string, value: unknown): string {
  return createHmac('sha256', secret).update(toCanonicalJson(value)).digest('hex');
}

function toCanonicalJson(value: unknown): string {
  return JSON.stringify(value, sortKeys) ?? 'undefined';
}

function sortKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
