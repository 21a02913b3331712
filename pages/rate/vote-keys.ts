// The keys of a vote, the same in a queue and in the arena.

import type { Choice, Strength } from '../api.ts';
import type { Draft } from './draft.ts';
import { isSide } from './draft.ts';
import type { KeyMap } from './keys.ts';

type Actions = {
  /** As it is now: two keys may come before the page is shown again. */
  getDraft(): Draft | null;
  hasStrength: boolean;
  onChange(draft: Partial<Draft>): void;
  onSend(): void;
  onSkip(): void;
  onEdit?: (() => void) | undefined;
};

export function toVoteKeys({ getDraft, hasStrength, onChange, onSend, onSkip, onEdit }: Actions): KeyMap {
  // The same key again sends, so that a vote takes one finger.
  const choose = (choice: Choice) => () => (getDraft()?.choice === choice ? onSend() : onChange({ choice }));
  const by = (strength: Strength) => () => hasStrength && isSide(getDraft()?.choice) && onChange({ strength });
  return {
    a: choose('a'),
    b: choose('b'),
    t: choose('tie'),
    x: choose('both_bad'),
    s: onSkip,
    1: by('slightly'),
    2: by('clearly'),
    3: by('much'),
    e: onEdit,
    c: () => document.getElementById('comment')?.focus(),
    r: () => document.querySelector<HTMLElement>('#tags input')?.focus(),
    Enter: onSend,
    'Mod+Enter': onSend,
  };
}
