// sha256 of text or of a JSON value, the same on Node and in a Worker.

/** sha256 in hex. */
export async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** sha256 of a JSON value that does not depend on the order of keys. */
export function hashContent(value: unknown): Promise<string> {
  return sha256(JSON.stringify(value, sortKeys) ?? 'undefined');
}

function sortKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
