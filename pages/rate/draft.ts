// What a rater has said of a reservation and not sent yet. It survives a reload.

import type { Choice, Reservation, Strength } from '../api.ts';
import { forget, listRemembered, recall, remember } from '../storage.ts';

export type Draft = {
  choice: Choice | null;
  strength: Strength | null;
  tags: string[];
  comment: string;
  /** a better text in place of one side, which counts if that side is chosen */
  edit: { side: 'a' | 'b'; text: string } | null;
  /** how long it was looked at */
  seconds: number;
};

type Stored = Draft & { savedAt: number };

const KEPT_MS = 2 * 24 * 3600 * 1000;
const EMPTY: Draft = { choice: null, strength: null, tags: [], comment: '', edit: null, seconds: 0 };

export const newDraft = (): Draft => ({ ...EMPTY, tags: [] });

export function recallDraft(id: string): Draft {
  return { ...newDraft(), ...recall<Stored>(`draft.${id}`) };
}

export function rememberDraft(id: string, draft: Draft): void {
  remember(`draft.${id}`, { ...draft, savedAt: Date.now() } satisfies Stored);
}

export function forgetDraft(id: string): void {
  forget(`draft.${id}`);
}

export function forgetOldDrafts(): void {
  for (const name of listRemembered('draft.'))
    if ((recall<Stored>(name)?.savedAt ?? 0) < Date.now() - KEPT_MS) forget(name);
}

/** What was voted, to be changed. */
export function toDraft({ choice, strength, tags, comment, edit }: Reservation, seconds: number): Draft {
  const edited = edit !== null && isSide(choice) ? { side: choice, text: edit } : null;
  return { choice: choice === 'skip' ? null : choice, strength, tags, comment: comment ?? '', edit: edited, seconds };
}

export function isSide(choice: Choice | null | undefined): choice is 'a' | 'b' {
  return choice === 'a' || choice === 'b';
}

/** The fields of a vote. */
export function toVote({ choice, strength, tags, comment, edit }: Draft, seconds: number) {
  const isPreferred = isSide(choice);
  return {
    choice: choice!,
    ...(isPreferred && strength ? { strength } : {}),
    ...(tags.length > 0 ? { tags } : {}),
    ...(comment.trim() ? { comment: comment.trim() } : {}),
    ...(edit !== null && edit.side === choice ? { edit: edit.text } : {}),
    seconds: Math.round(seconds * 100) / 100,
  };
}
