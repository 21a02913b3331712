// How far a pair is trusted: a vote that chose among the policy's own responses, or what a rater wrote in place of one; a text
// or an end user that a backend vouches for, or a response that was regenerated; or a row of a file.

import type { preferences } from '../database/schema.ts';

export const TRUST_LEVELS = ['rated', 'feedback', 'imported'] as const;
export type Trust = (typeof TRUST_LEVELS)[number];

export function getTrust({ source, rater }: Pick<typeof preferences.$inferSelect, 'source' | 'rater'>): Trust {
  if (source === 'import') return 'imported';
  if (source === 'demonstration') return rater.startsWith('rater_') ? 'rated' : 'feedback';
  const isGiven = source === 'raw' || source === 'implicit';
  return isGiven || rater === 'anonymous' || rater.startsWith('user:') ? 'feedback' : 'rated';
}
