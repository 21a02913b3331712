export type Message = { role: 'system' | 'user' | 'assistant' | 'developer' | 'tool'; content: string };
export type PreferenceRecord = { prompt: string | Message[]; a: string; b: string; choice: 'a' | 'b' | 'tie' | 'both_bad'; rater: string | null; externalId: string | null; metadata: Record<string, unknown> };
