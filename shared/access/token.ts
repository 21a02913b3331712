// The text of a key: `sk-at-<public id>-<secret>`. Only a hash of the secret is stored; it has 256 random bits, so a fast
// hash is enough.
import { randomBytes, randomInt } from 'node:crypto';
import { sha256 } from '../digest.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const PUBLIC_LENGTH = 12;
const PATTERN = /^sk-at-([a-z0-9]{12})-([\w-]{43})$/;

/** `id` names the key in lists, logs and the audit log. */
export type ParsedToken = { id: string; secretHash: string };

export function createPublicId(): string {
  return Array.from({ length: PUBLIC_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}

export function createToken(publicId: string): { token: string; secretHash: string } {
  const secret = randomBytes(32).toString('base64url');
  return { token: `sk-at-${publicId}-${secret}`, secretHash: sha256(secret) };
}

/** Null if the text is not a key of this form. */
export function parseToken(text: string): ParsedToken | null {
  const [, publicId, secret] = PATTERN.exec(text) ?? [];
  return publicId && secret ? { id: toKeyId(publicId), secretHash: sha256(secret) } : null;
}

export function toKeyId(publicId: string): string {
  return `key_${publicId}`;
}
