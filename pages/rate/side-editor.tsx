// A better version of the chosen response: a field in its place, or a way back to a version that was discarded.

import { useLayoutEffect, useRef } from 'preact/hooks';
import { useTexts } from '../texts/texts.ts';
import type { Shown, SideName } from './comparison-view.tsx';
import { changeEdit, type Draft, discardEdit, getEdit, isSide, openEdit, restoreEdit } from './draft.ts';

type Side = Record<SideName, Shown>;
type Change = (draft: Partial<Draft>) => void;

/** What improves the chosen side does: it opens the field, or goes back to it. */
export function editChosen(draft: Draft, sides: Side, onChange: Change): boolean {
  const { choice } = draft;
  if (!isSide(choice)) return false;
  const field = document.getElementById('edit');
  if (field) field.focus();
  else onChange(openEdit(draft, choice, sides[choice].text));
  return true;
}

type Props = { draft: Draft; sides: Side; isBusy: boolean; onChange: Change };

/** In place of the text of a side, or below it. */
export function toSideEditor({ draft, sides, isBusy, onChange }: Props) {
  const { choice, discarded } = draft;
  if (!isSide(choice)) return null;
  const edit = getEdit(draft);
  if (edit)
    return {
      side: choice,
      instead: (
        <Editor
          key={choice}
          side={choice}
          text={edit.text}
          isBusy={isBusy}
          isFocused={draft.isEditing}
          onFocus={(isEditing) => draft.isEditing !== isEditing && onChange({ isEditing })}
          onInput={(text) => onChange({ ...changeEdit(draft, { side: choice, text }), isEditing: true })}
          onDiscard={() => onChange(discardEdit(draft, choice))}
        />
      ),
    };
  const text = discarded[choice];
  if (text === undefined || text === sides[choice].text) return null;
  return { side: choice, below: <Discarded isBusy={isBusy} onRestore={() => onChange(restoreEdit(draft, choice))} /> };
}

type EditorProps = {
  side: SideName;
  text: string;
  isBusy: boolean;
  isFocused: boolean;
  onFocus(isFocused: boolean): void;
  onInput(text: string): void;
  onDiscard(): void;
};

function Editor({ side, text, isBusy, isFocused, onFocus, onInput, onDiscard }: EditorProps) {
  const texts = useTexts();
  const area = useRef<HTMLTextAreaElement>(null);
  // Before anything is painted: what is typed right after the key that opened this belongs here.
  useLayoutEffect(() => {
    const { current } = area;
    if (!current || !isFocused || current === document.activeElement) return;
    current.focus();
    current.scrollIntoView({ block: 'nearest' });
    current.setSelectionRange(current.value.length, current.value.length);
  }, [isFocused]);
  return (
    <div class="editor">
      <label class="quiet" for="edit">
        {texts.editing(side.toUpperCase())}. {texts.editHint}
      </label>
      <textarea
        ref={area}
        id="edit"
        dir="auto"
        value={text}
        disabled={isBusy}
        onFocus={() => onFocus(true)}
        onBlur={() => onFocus(false)}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <button type="button" class="plain" disabled={isBusy} onClick={onDiscard}>
        {texts.dropEdit}
      </button>
    </div>
  );
}

function Discarded({ isBusy, onRestore }: { isBusy: boolean; onRestore(): void }) {
  const texts = useTexts();
  return (
    <p class="discarded quiet" role="status">
      {texts.editDropped}
      <button type="button" disabled={isBusy} onClick={onRestore}>
        {texts.restoreEdit}
      </button>
    </p>
  );
}
