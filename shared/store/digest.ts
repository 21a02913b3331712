// SHA-256 of bytes that come one after the other. Web Crypto wants them all at once, so this takes the runtime's own
// createHash, which Node and workerd (nodejs_compat) both give without an import that a bundler would have to resolve.

export type Digest = { update(bytes: Uint8Array): void; hex(): string };

export function startDigest(): Digest {
  const hash = globalThis.process.getBuiltinModule('node:crypto').createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

export function digestOf(bytes: Uint8Array): string {
  const digest = startDigest();
  digest.update(bytes);
  return digest.hex();
}
