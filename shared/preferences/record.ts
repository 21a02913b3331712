// A rater's judgment of two responses to one prompt: the common form of every import and export format.
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
