// The digest of what a preference judges, and who: another one if the vote is changed.

import type { preferences } from '../database/schema.ts';
import { hashContent } from '../digest.ts';

export type Judgment = Pick<
  typeof preferences.$inferSelect,
  | 'source'
  | 'comparison_id'
  | 'choice'
  | 'prompt'
  | 'chosen'
  | 'rejected'
  | 'chosen_generation_id'
  | 'rejected_generation_id'
  | 'rater'
>;

export function hashJudgment(row: Judgment): string {
  const {
    source,
    comparison_id,
    choice,
    prompt,
    chosen,
    rejected,
    chosen_generation_id,
    rejected_generation_id,
    rater,
  } = row;
  const sides = { chosen, rejected, chosen_generation_id, rejected_generation_id };
  return hashContent({ source, comparison_id, choice, prompt, ...sides, rater });
}
