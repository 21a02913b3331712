// What a vote says: the choice, by how much, why, and a comment. A form of plain radio buttons and fields, so that every way of
// using a page works; keys.ts adds the letters.

import type { Choice, Strength } from '../api.ts';
import { useTexts } from '../texts/texts.ts';
import { type Draft, isSide } from './draft.ts';

export const STRENGTHS: readonly Strength[] = ['slightly', 'clearly', 'much'];
const CHOICES = [
  ['a', 'a'],
  ['tie', 't'],
  ['both_bad', 'x'],
  ['b', 'b'],
] as const satisfies [Choice, string][];

export type Asked = { strength: 'off' | 'optional' | 'required'; tags: readonly string[]; edits: boolean };

type Props = {
  draft: Draft;
  asked: Asked;
  isBusy: boolean;
  /** there is nothing to vote on yet */
  isWaiting?: boolean;
  onChange(draft: Partial<Draft>): void;
  onSend(): void;
  onSkip(): void;
  onEdit(): void;
};

export function VoteForm({ draft, asked, isBusy, isWaiting = false, onChange, onSend, onSkip, onEdit }: Props) {
  const texts = useTexts();
  const { choice, strength, comment } = draft;
  const isPreferred = isSide(choice);
  return (
    <form
      class="vote"
      aria-label={texts.vote}
      onSubmit={(event) => {
        event.preventDefault();
        onSend();
      }}
    >
      <fieldset class="choices" disabled={isBusy}>
        <legend class="hidden">{texts.vote}</legend>
        {CHOICES.map(([name, key]) => (
          <label key={name} class={`choice ${name}`}>
            <input
              type="radio"
              name="choice"
              value={name}
              checked={choice === name}
              aria-keyshortcuts={key}
              aria-label={texts.choices[name]}
              onChange={() => onChange({ choice: name })}
            />
            <span class="long">{texts.choices[name]}</span>
            <span class="short">{texts.choicesShort[name]}</span>
            <kbd>{key}</kbd>
          </label>
        ))}
        <button type="button" class="plain" onClick={onSkip} aria-keyshortcuts="s">
          <span class="long">{texts.choices.skip}</span>
          <span class="short">{texts.choicesShort.skip}</span>
          <kbd>s</kbd>
        </button>
      </fieldset>
      <div class="details">
        {asked.strength !== 'off' && (
          <fieldset class="segments" disabled={isBusy || !isPreferred}>
            <legend class="hidden">{texts.strength}</legend>
            {STRENGTHS.map((name, at) => (
              <label key={name}>
                <input
                  type="radio"
                  name="strength"
                  value={name}
                  checked={isPreferred && strength === name}
                  aria-keyshortcuts={String(at + 1)}
                  onChange={() => onChange({ strength: name })}
                />
                {texts.strengths[name]} <kbd>{at + 1}</kbd>
              </label>
            ))}
          </fieldset>
        )}
        {asked.tags.length > 0 && <Tags draft={draft} tags={asked.tags} isBusy={isBusy} onChange={onChange} />}
        <div class="say">
          <textarea
            id="comment"
            rows={1}
            maxLength={4000}
            dir="auto"
            value={comment}
            placeholder={texts.comment}
            aria-label={texts.comment}
            title={texts.commentHint}
            disabled={isBusy}
            onInput={(event) => onChange({ comment: event.currentTarget.value })}
          />
          <div class="actions">
            {asked.edits && (
              <button type="button" disabled={isBusy || !isPreferred} onClick={onEdit} aria-keyshortcuts="e">
                {texts.edit(isPreferred ? choice.toUpperCase() : '…')}
                <kbd>e</kbd>
              </button>
            )}
            <button type="submit" class="primary" disabled={isBusy} aria-keyshortcuts="Enter">
              {isBusy && !isWaiting ? texts.sending : texts.send}
              <kbd>↵</kbd>
            </button>
          </div>
        </div>
      </div>
    </form>
  );
}

type TagsProps = Pick<Props, 'draft' | 'isBusy' | 'onChange'> & { tags: readonly string[] };

function Tags({ draft, tags, isBusy, onChange }: TagsProps) {
  const texts = useTexts();
  const toggle = (tag: string) =>
    onChange({ tags: draft.tags.includes(tag) ? draft.tags.filter((other) => other !== tag) : [...draft.tags, tag] });
  return (
    <fieldset class="tags" id="tags" disabled={isBusy}>
      <legend class="hidden">{texts.tags}</legend>
      {tags.map((tag) => (
        <label key={tag}>
          <input type="checkbox" checked={draft.tags.includes(tag)} onChange={() => toggle(tag)} />
          <span dir="auto">{tag}</span>
        </label>
      ))}
    </fieldset>
  );
}
