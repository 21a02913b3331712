// A preference as files bring it in: two answers to one prompt and which one was chosen.

export type Role = 'system' | 'developer' | 'user' | 'assistant' | 'tool';
export type Message = { role: Role; content: string };

export type PreferenceRecord = {
  prompt: string | Message[];
  a: string;
  b: string;
  choice: 'a' | 'b' | 'tie' | 'both_bad';
  rater: string | null;
  /** the id that the file gives it */
  externalId: string | null;
  metadata: Record<string, unknown>;
};
