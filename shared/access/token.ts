// The text of a key, `sk-at-<public id>-<secret>`, and of an invitation, `inv-at-<public id>-<secret>`. Only a hash of the
// secret is stored; it has 256 random bits, so a fast hash is enough.
import { randomBytes, randomInt } from 'node:crypto';
import { sha256 } from '../digest.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const PUBLIC_LENGTH = 12;

const KINDS = {
  key: { start: 'sk-at-', idStart: 'key_' },
  invitation: { start: 'inv-at-', idStart: 'inv_' },
};

export type TokenKind = keyof typeof KINDS;

/** `id` names the key or invitation in lists, logs and the audit log. */
export type ParsedToken = { id: string; secretHash: string };

/** A new secret, with a new id unless one is given. */
export function createToken(kind: TokenKind, id = createId(kind)): ParsedToken & { token: string } {
  const { start, idStart } = KINDS[kind];
  const secret = randomBytes(32).toString('base64url');
  return { id, token: `${start}${id.slice(idStart.length)}-${secret}`, secretHash: sha256(secret) };
}

/** Null if the text is not a token of this kind. */
export function parseToken(kind: TokenKind, text: string): ParsedToken | null {
  const { start, idStart } = KINDS[kind];
  if (!text.startsWith(start)) return null;
  const [, publicId, secret] = /^([a-z0-9]{12})-([\w-]{43})$/.exec(text.slice(start.length)) ?? [];
  return publicId && secret ? { id: idStart + publicId, secretHash: sha256(secret) } : null;
}

function createId(kind: TokenKind): string {
  const characters = Array.from({ length: PUBLIC_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]);
  return KINDS[kind].idStart + characters.join('');
}
