// The arena: a prompt of one's own, two responses that are written at once, a vote, and the next turn.

import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Session } from '../api.ts';
import { Markdown } from '../markdown/markdown.tsx';
import { useTexts } from '../texts/texts.ts';
import { ArenaSession } from './arena-session.ts';
import { Sides } from './comparison-view.tsx';
import { getKeptText, type Turn } from './conversation.ts';
import { getEdit } from './draft.ts';
import { useKeys } from './keys.ts';
import { KeysHelp } from './keys-help.tsx';
import type { Outbox } from './outbox.ts';
import { editChosen, toSideEditor } from './side-editor.tsx';
import { VoteForm } from './vote-form.tsx';
import { toVoteKeys } from './vote-keys.ts';

type Props = { session: Session; holder: string; outbox: Outbox };

export function Arena({ session: { rater, scopes }, holder, outbox }: Props) {
  const texts = useTexts();
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  const [arena] = useState(() => new ArenaSession(holder, outbox, () => refresh(undefined)));
  const [isHelpOpen, setHelpOpen] = useState(false);
  useEffect(() => {
    arena.start();
    return () => arena.close();
  }, [arena]);
  const { stage, turn, turns, notice } = arena;
  const edits = rater !== null || scopes.includes('feedback');
  const isVoting = stage === 'voting' || stage === 'sending' || stage === 'waiting';

  const onEdit = () => {
    const { stage, turn } = arena;
    if (stage !== 'voting' || !turn || !edits) return;
    const isOpen = editChosen(turn.draft, toSides(turn), arena.change.bind(arena));
    if (!isOpen) arena.tell({ text: 'chooseSideFirst' });
  };
  const vote = {
    onChange: arena.change.bind(arena),
    onSend: () => void arena.send(),
    onSkip: () => void arena.send('skip'),
    onEdit,
  };
  useKeys({
    ...toVoteKeys({
      getDraft: () => (arena.stage === 'voting' ? (arena.turn?.draft ?? null) : null),
      hasStrength: true,
      ...vote,
    }),
    z: () => arena.revise(),
    '?': () => setHelpOpen(true),
  });

  return (
    <main class="page">
      <div class="bar">
        <h1 class="name">{texts.arena}</h1>
        <span class="space" />
        {turns.length > 0 && (
          <button type="button" class="plain" onClick={() => arena.restart()}>
            {texts.arenaNew}
          </button>
        )}
        <button type="button" class="plain keyboard" onClick={() => setHelpOpen(true)} aria-keyshortcuts="?">
          {texts.keys}
          <kbd>?</kbd>
        </button>
      </div>
      <div class="item arena">
        {turns.length === 0 && (
          <div class="welcome">
            <h2>{texts.arenaTitle}</h2>
            <p class="quiet">{texts.arenaText}</p>
          </div>
        )}
        {turns.slice(0, -1).map((earlier, at) => (
          <Earlier key={at} turn={earlier} />
        ))}
        {turn && <Current arena={arena} turn={turn} />}
        <div class="dock">
          {notice && (
            <p class="note" role="alert" dir="auto">
              {'text' in notice ? texts[notice.text] : notice.words}{' '}
              {notice.canRetry && (
                <button type="submit" form="composer">
                  {texts.retry}
                </button>
              )}
            </p>
          )}
          {stage === 'waiting' && (
            <p class="note" role="status">
              {texts.waiting}
            </p>
          )}
          {isVoting && turn ? (
            <VoteForm
              {...vote}
              draft={turn.draft}
              asked={{ strength: 'optional', tags: [], edits }}
              isBusy={stage !== 'voting'}
            />
          ) : (
            <Composer arena={arena} />
          )}
        </div>
      </div>
      {isHelpOpen && <KeysHelp onClose={() => setHelpOpen(false)} />}
    </main>
  );
}

function Earlier({ turn }: { turn: Turn }) {
  const texts = useTexts();
  return (
    <section class="prompt">
      <div class="turn user">
        <span class="role">{texts.arenaYou}</span>
        <Markdown text={turn.prompt} />
      </div>
      <div class="turn assistant">
        <span class="role">{texts.arenaKept(turn.kept!.toUpperCase())}</span>
        <Markdown text={getKeptText(turn)} />
      </div>
    </section>
  );
}

function Current({ arena, turn }: { arena: ArenaSession; turn: Turn }) {
  const texts = useTexts();
  const { stage } = arena;
  const { draft, comparison } = turn;
  const edit = stage === 'voted' ? getEdit(draft) : null;
  const onChange = arena.change.bind(arena);
  const side = (name: 'a' | 'b') => ({
    text: edit?.side === name ? edit.text : turn.texts[name],
    ...(comparison ? { finish_reason: comparison[name].finish_reason } : {}),
  });
  const [a, b] = [comparison?.a.model, comparison?.b.model];
  return (
    <>
      <section class="prompt">
        <div class="turn user">
          <span class="role">{texts.arenaYou}</span>
          <Markdown text={turn.prompt} />
        </div>
      </section>
      <Sides
        a={side('a')}
        b={side('b')}
        choice={draft.choice}
        isWriting={stage === 'writing'}
        policies={stage === 'voted' && a !== undefined && b !== undefined ? { a, b } : null}
        editor={
          stage === 'voted' ? null : toSideEditor({ draft, sides: toSides(turn), isBusy: stage !== 'voting', onChange })
        }
      />
      <p class="hidden" role="status">
        {stage === 'writing' ? texts.arenaWriting : stage === 'voting' ? texts.arenaReady : ''}
      </p>
    </>
  );
}

function toSides({ texts: { a, b } }: Turn) {
  return { a: { text: a }, b: { text: b } };
}

function Composer({ arena }: { arena: ArenaSession }) {
  const texts = useTexts();
  const area = useRef<HTMLTextAreaElement>(null);
  const { stage, turn } = arena;
  useLayoutEffect(() => {
    if (area.current) area.current.value = arena.prompt;
  }, [arena]);
  useLayoutEffect(() => {
    if (stage !== 'writing') area.current?.focus();
  }, [stage]);
  const send = async () => {
    const { current } = area;
    const prompt = current?.value.trim();
    if (!current || !prompt || stage === 'writing') return;
    current.value = '';
    if (!(await arena.ask(prompt)) && area.current) area.current.value ||= prompt;
  };
  return (
    <form
      id="composer"
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      {stage === 'voted' && turn && (
        <div class="after">
          {turn.draft.choice === 'tie' && (
            <fieldset class="segments">
              <legend>{texts.arenaGoOnFrom}</legend>
              {(['a', 'b'] as const).map((name) => (
                <label key={name}>
                  <input type="radio" name="kept" checked={turn.kept === name} onChange={() => arena.keep(name)} />
                  {name.toUpperCase()}
                </label>
              ))}
            </fieldset>
          )}
          {turn.draft.choice && <span class="quiet">{texts.lastVote(texts.choices[turn.draft.choice])}</span>}
          <button type="button" class="plain" onClick={() => arena.revise()} aria-keyshortcuts="z">
            {texts.changeVote}
            <kbd>z</kbd>
          </button>
        </div>
      )}
      <textarea
        ref={area}
        rows={2}
        dir="auto"
        aria-label={texts.arenaPrompt}
        onInput={(event) => arena.keepPrompt(event.currentTarget.value)}
        placeholder={turn?.kept ? texts.arenaContinue : texts.arenaPrompt}
        disabled={stage === 'writing'}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          void send();
        }}
      />
      {stage === 'writing' ? (
        <button type="button" onClick={() => arena.stop()}>
          {texts.arenaStop}
        </button>
      ) : (
        <button type="submit" class="primary">
          {texts.arenaSend}
        </button>
      )}
    </form>
  );
}
