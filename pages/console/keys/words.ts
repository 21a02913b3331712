// Keys as the API has them, and what scopes allow.

import type { components } from '../../api-types.ts';

export type Key = components['schemas']['Key'];
export type KeyWithText = Key & { key: string };
export type Scope = Key['scopes'][number];

/** As docs/api.md says it, in short. */
export const SCOPES: [scope: Scope, description: string][] = [
  ['generate', 'generate and score responses, create comparisons, list models'],
  ['feedback', 'vote for end users, store given pairs, and import files of them'],
  ['rate', 'create and list comparisons, and vote on comparisons and the items of queues'],
  ['read', 'read what is stored: generations, preferences, rounds, policies, canaries, raters'],
  ['train', 'request rounds, and cancel any'],
  ['operate', 'promote policies and roll back, start and end canaries, create and invite raters, and run queues'],
  ['admin', 'everything, including keys, erasures and the audit log'],
];

/** Who usually gets which. */
export const PRESETS: [name: string, scopes: Scope[]][] = [
  ['Chat backend', ['generate', 'feedback']],
  ['Dashboard', ['read']],
  ['Import job', ['feedback', 'read']],
  ['Operator', ['train', 'operate', 'read']],
];

export function isUsable({ revoked_at, expires_at }: Key): boolean {
  return revoked_at === null && (expires_at === null || expires_at * 1000 > Date.now());
}
