// A rater's judgement of two responses to one prompt: what every import format is parsed into and every export is made of.
// `choice` keeps the sides apart, so that a tie is represented as well as a pair.

import type { Prompt } from '../chat-message.ts';

export type PreferenceRecord = {
  prompt: Prompt;
  a: string;
  b: string;
  choice: 'a' | 'b' | 'tie' | 'both_bad';
  rater: string | null;
  /** the id of the row in its source */
  externalId: string | null;
  metadata: Record<string, unknown>;
};
