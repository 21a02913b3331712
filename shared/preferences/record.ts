// One person's judgement of two answers to one prompt, in the shape that every import becomes and every export starts
// from. Which side was chosen is said by `choice`, so that a tie can be told as faithfully as a pair.

import type { Prompt } from '../chat-message.ts';

export type PreferenceRecord = {
  /** text to continue, or a conversation to answer */
  prompt: Prompt;
  a: string;
  b: string;
  choice: 'a' | 'b' | 'tie' | 'both_bad';
  rater: string | null;
  /** the id that the row had where it comes from */
  externalId: string | null;
  metadata: Record<string, unknown>;
};
