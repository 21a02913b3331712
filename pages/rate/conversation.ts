// A conversation of the arena, which this tab keeps over a reload. Another tab has its own.

import type { Comparison, Preference } from '../api.ts';
import type { SideTexts } from '../even-texts.ts';
import { type Draft, getEdit } from './draft.ts';

export type Side = 'a' | 'b';

export type Turn = {
  prompt: string;
  texts: SideTexts;
  /** once both sides are complete */
  comparison: Comparison | null;
  draft: Draft;
  vote: Preference | null;
  /** the side that the conversation goes on from; null: neither */
  kept: Side | null;
};

export type Stage = 'asking' | 'writing' | 'voting' | 'sending' | 'waiting' | 'voted';

export type Conversation = {
  turns: Turn[];
  stage: Extract<Stage, 'asking' | 'voting' | 'voted'>;
  /** what is in the field, or was being answered */
  prompt: string;
  /** how long the last turn was looked at */
  seconds: number;
};

/** Nobody else who uses this tab sees it. */
const toName = (holder: string) => `attune.arena.${holder}`;

export function recallConversation(holder: string): Conversation | null {
  try {
    return JSON.parse(sessionStorage.getItem(toName(holder)) ?? 'null') as Conversation | null;
  } catch {
    return null;
  }
}

export function rememberConversation(holder: string, conversation: Conversation): void {
  try {
    sessionStorage.setItem(toName(holder), JSON.stringify(conversation));
  } catch {
    // Full, or not allowed: it lasts until a reload.
  }
}

export function getKeptText({ kept, draft, texts }: Turn): string {
  const edit = getEdit(draft);
  return edit && edit.side === kept ? edit.text : texts[kept!];
}

export function toMessages(turn: Turn) {
  return [
    { role: 'user' as const, content: turn.prompt },
    { role: 'assistant' as const, content: getKeptText(turn) },
  ];
}
