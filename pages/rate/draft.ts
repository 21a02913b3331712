// What a rater has said of a reservation and not sent yet. It survives a reload.

import type { Choice, Reservation, Strength } from '../api.ts';
import { forget, listRemembered, recall, remember } from '../storage.ts';

export type Draft = {
  choice: Choice | null;
  strength: Strength | null;
  tags: string[];
  comment: string;
  /** better texts in place of the sides; that of the chosen side counts */
  edits: SideEdits;
  /** what was taken out of `edits`, and can come back */
  discarded: SideEdits;
  /** whether the field of a better text has the focus, or gets it when it is shown */
  isEditing: boolean;
  /** how long it was looked at */
  seconds: number;
};

type SideName = 'a' | 'b';
type SideEdits = { [side in SideName]?: string };
export type Edit = { side: SideName; text: string };
type Stored = Draft & { savedAt: number };

const KEPT_MS = 2 * 24 * 3600 * 1000;

export const newDraft = (): Draft => ({
  choice: null,
  strength: null,
  tags: [],
  comment: '',
  edits: {},
  discarded: {},
  isEditing: false,
  seconds: 0,
});

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
  const edits = edit !== null && isSide(choice) ? { [choice]: edit } : {};
  const said = { choice: choice === 'skip' ? null : choice, strength, tags, comment: comment ?? '' };
  return { ...newDraft(), ...said, edits, seconds };
}

/** The better text of the chosen side, if there is one. */
export function getEdit({ choice, edits }: Pick<Draft, 'choice' | 'edits'>): Edit | null {
  const text = isSide(choice) ? edits[choice] : undefined;
  return text === undefined ? null : { side: choice as SideName, text };
}

export function changeEdit({ edits }: Draft, { side, text }: Edit): Partial<Draft> {
  return { edits: { ...edits, [side]: text } };
}

/** Begins a better text from `text`, or goes on with the one that there is. */
export function openEdit(draft: Draft, side: SideName, text: string): Partial<Draft> {
  return { edits: { [side]: text, ...draft.edits }, isEditing: true };
}

export function discardEdit({ edits, discarded }: Draft, side: SideName): Partial<Draft> {
  const { [side]: text, ...left } = edits;
  return { edits: left, discarded: { ...discarded, [side]: text! }, isEditing: false };
}

export function restoreEdit({ edits, discarded }: Draft, side: SideName): Partial<Draft> {
  const { [side]: text, ...left } = discarded;
  return { edits: { ...edits, [side]: text! }, discarded: left, isEditing: true };
}

export function isSide(choice: Choice | null | undefined): choice is 'a' | 'b' {
  return choice === 'a' || choice === 'b';
}

/** The fields of a vote. */
export function toVote(draft: Draft, seconds: number) {
  const { choice, strength, tags, comment } = draft;
  const isPreferred = isSide(choice);
  const edit = getEdit(draft);
  return {
    choice: choice!,
    ...(isPreferred && strength ? { strength } : {}),
    ...(tags.length > 0 ? { tags } : {}),
    ...(comment.trim() ? { comment: comment.trim() } : {}),
    ...(edit === null ? {} : { edit: edit.text }),
    seconds: Math.round(seconds * 100) / 100,
  };
}
