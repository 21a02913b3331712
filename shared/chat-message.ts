// A message of a chat, as it is stored, rendered by chat templates, and exchanged in preference files. Text only.

export const CHAT_ROLES = ['system', 'developer', 'user', 'assistant', 'tool'] as const;

export type ChatMessage = { role: (typeof CHAT_ROLES)[number]; content: string };

/** A text to continue, or a chat to respond to. */
export type Prompt = string | ChatMessage[];
