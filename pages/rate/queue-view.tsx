// One queue: its guidelines, the item that is reserved, and the vote.

import { Fragment } from 'preact';
import { useEffect, useReducer, useState } from 'preact/hooks';
import type { Queue, Reservation } from '../api.ts';
import { Dialog } from '../dialog.tsx';
import { Markdown } from '../markdown/markdown.tsx';
import { follow } from '../path.ts';
import { recall, remember } from '../storage.ts';
import type { Texts } from '../texts/en.ts';
import { useTexts } from '../texts/texts.ts';
import { PromptView, Sides } from './comparison-view.tsx';
import { newDraft } from './draft.ts';
import { areKeysOn, useKeys } from './keys.ts';
import { KeysHelp } from './keys-help.tsx';
import { Message } from './message.tsx';
import type { Outbox } from './outbox.ts';
import { RATE } from './path.ts';
import { listPolicies, PolicyName } from './policy-name.tsx';
import { Progress } from './progress.tsx';
import { type Notice, RatingSession, type View } from './rating-session.ts';
import { editChosen, toSideEditor } from './side-editor.tsx';
import { VoteForm } from './vote-form.tsx';
import { toVoteKeys } from './vote-keys.ts';

type Props = { queue: Queue; holder: string; outbox: Outbox; isOnly: boolean };
type Open = 'guidelines' | 'keys' | null;

export function QueueView({ queue: given, holder, outbox, isOnly }: Props) {
  const texts = useTexts();
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  const [session] = useState(() => new RatingSession(given, holder, outbox, () => refresh(undefined)));
  const [open, setOpen] = useState<Open>(null);
  useEffect(() => {
    void session.start();
    return () => session.close();
  }, [session]);

  const { view, notice, progress, queue, last } = session;
  const { version, text: guidelines } = queue.guidelines;
  const seenName = `guidelines.${queue.id}`;
  const [seen, setSeen] = useState(() => recall<number>(seenName));
  const mustRead = guidelines !== '' && seen !== version;
  const closeGuidelines = () => {
    remember(seenName, version);
    setSeen(version);
    setOpen(null);
  };

  const vote = toVoteActions(session);
  const undo = () => void session.undo();
  useKeys({
    ...toVoteKeys(vote),
    ...(view.name === 'answered' || view.name === 'failed' ? { Enter: () => void session.next() } : {}),
    z: undo,
    g: guidelines ? () => setOpen('guidelines') : undefined,
    '?': () => setOpen('keys'),
  });

  return (
    <main class="page">
      <a class="skip" href="#responses">
        {texts.skipToContent}
      </a>
      <div class="bar">
        <h1 class="name" dir="auto" title={queue.name}>
          {queue.name}
        </h1>
        {!isOnly && (
          <a href={RATE} onClick={follow}>
            {texts.otherQueues}
          </a>
        )}
        {progress && <Progress progress={progress} />}
        {guidelines && (
          <button type="button" class="plain" onClick={() => setOpen('guidelines')} aria-keyshortcuts="g">
            {texts.guidelines}
            <kbd>g</kbd>
          </button>
        )}
        <button type="button" class="plain keyboard" onClick={() => setOpen('keys')} aria-keyshortcuts="?">
          {texts.keys}
          <kbd>?</kbd>
        </button>
      </div>
      <Content
        session={session}
        view={view}
        notice={notice}
        vote={vote}
        onGuidelines={guidelines ? () => setOpen('guidelines') : null}
      />
      {(last || (view.name !== 'end' && view.name !== 'failed')) && (
        <LastVote last={last} isAsked={view.name !== 'answered'} isWaiting={view.name === 'waiting'} onUndo={undo} />
      )}
      {open === 'keys' && <KeysHelp onClose={() => setOpen(null)} />}
      {(open === 'guidelines' || mustRead) && (
        <Dialog
          title={texts.guidelines}
          hasHiddenTitle={/^\s*#{1,6}\s/.test(guidelines)}
          done={mustRead ? texts.start : undefined}
          onClose={closeGuidelines}
        >
          {mustRead && seen !== null && <p class="note">{texts.guidelinesChanged}</p>}
          <Markdown text={guidelines} />
        </Dialog>
      )}
    </main>
  );
}

type LastVoteProps = { last: RatingSession['last']; isAsked: boolean; isWaiting: boolean; onUndo(): void };

/** A row that is there from the first item on, so that the buttons above it stay where they are. */
function LastVote({ last, isAsked, isWaiting, onUndo }: LastVoteProps) {
  const texts = useTexts();
  if (!last)
    return <p class="last">{isAsked && areKeysOn() && <span class="quiet keyboard">{texts.keysHint}</span>}</p>;
  return (
    <p class="last">
      <span class="quiet">{texts.lastVote(texts.choices[last.choice])}</span>
      {/* A vote that waits is undone first, where that is said. */}
      {!isWaiting && (
        <button type="button" class="plain" onClick={onUndo} aria-keyshortcuts="z">
          {texts.undo}
          <kbd>z</kbd>
        </button>
      )}
    </p>
  );
}

type Vote = ReturnType<typeof toVoteActions>;

/** What the form and the keys do. */
function toVoteActions(session: RatingSession) {
  const { settings } = session.queue;
  const onEdit = () => {
    const { view } = session;
    if (view.name !== 'item' || !settings.edits) return;
    const isOpen = editChosen(view.draft, view.reservation, session.change.bind(session));
    if (!isOpen) session.tell({ text: 'chooseSideFirst' });
  };
  return {
    getDraft: () => (session.view.name === 'item' ? session.view.draft : null),
    hasStrength: settings.strength !== 'off',
    onChange: session.change.bind(session),
    onSend: () => void session.send(),
    onSkip: () => void session.send('skip'),
    onEdit,
  };
}

type ContentProps = {
  session: RatingSession;
  view: View;
  notice: Notice | null;
  vote: Vote;
  onGuidelines: (() => void) | null;
};

function Content({ session, view, notice, vote, onGuidelines }: ContentProps) {
  const texts = useTexts();
  if (view.name === 'loading')
    return (
      <div class="item skeleton" aria-busy="true">
        <section class="prompt">
          <div class="turn">
            <p role="status">{texts.loadingItem}</p>
          </div>
        </section>
        <div class="sides">
          <div class="side" />
          <div class="side" />
        </div>
        <div class="dock">
          <NoticeLine notice={notice} />
          <VoteForm {...vote} draft={newDraft()} asked={session.queue.settings} isBusy isWaiting />
        </div>
      </div>
    );
  if (view.name === 'end')
    return (
      <Message isPart title={texts.ends[view.reason]} text={describeEnd(view, texts)}>
        <NoticeLine notice={notice} />
        {view.reason === 'paused' && onGuidelines && (
          <button type="button" class="primary" onClick={onGuidelines}>
            {texts.readGuidelines}
          </button>
        )}
      </Message>
    );
  if (view.name === 'failed')
    return (
      <Message
        isPart
        title={view.status === 0 ? texts.noConnection : view.status === 401 ? texts.signInTitle : texts.failed}
        text={view.status === 0 ? undefined : toSentence(view.words)}
      >
        {view.status === 401 ? (
          <a class="button primary" href="/sign-in">
            {texts.signIn}
          </a>
        ) : (
          <button type="button" class="primary" onClick={() => void session.next()}>
            {texts.retry}
          </button>
        )}
      </Message>
    );
  const { reservation } = view;
  return (
    <div class="item" key={reservation.id}>
      {reservation.purpose === 'calibration' && view.name !== 'answered' && (
        <p class="note">
          <strong>{texts.calibrationTitle}.</strong> {texts.calibrationText}
        </p>
      )}
      <PromptView prompt={reservation.prompt} />
      {view.name === 'answered' ? (
        <>
          <Sides a={reservation.a} b={reservation.b} choice={reservation.choice} />
          <Answered reservation={reservation} onNext={() => void session.next()} />
        </>
      ) : (
        <Voting session={session} view={view} notice={notice} vote={vote} />
      )}
    </div>
  );
}

type VotingProps = Omit<ContentProps, 'view' | 'onGuidelines'> & { view: Extract<View, { name: 'item' | 'waiting' }> };

function Voting({ session, view, notice, vote }: VotingProps) {
  const texts = useTexts();
  const { reservation, draft } = view;
  const isBusy = view.name === 'waiting' || view.isSending;
  const onChange = session.change.bind(session);
  const editor = session.queue.settings.edits ? toSideEditor({ draft, sides: reservation, isBusy, onChange }) : null;
  return (
    <>
      <Sides a={reservation.a} b={reservation.b} choice={draft.choice} editor={editor} />
      <div class="dock">
        <NoticeLine notice={notice} />
        {view.name === 'waiting' && (
          <p class="note" role="status">
            {texts.waiting}{' '}
            <button type="button" class="plain" onClick={() => void session.undo()}>
              {texts.undo}
              <kbd>z</kbd>
            </button>
          </p>
        )}
        <VoteForm {...vote} draft={draft} asked={session.queue.settings} isBusy={isBusy} />
      </div>
    </>
  );
}

function Answered({ reservation, onNext }: { reservation: Reservation; onNext(): void }) {
  const texts = useTexts();
  const { expected, explanation, choice } = reservation;
  const policies = listPolicies(reservation);
  return (
    <div class="dock answered">
      {expected && choice && (
        <p class={expected === choice ? 'note right' : 'note wrong'} role="status">
          {describeExpected(texts, expected, choice)}
        </p>
      )}
      {policies.length > 0 && (
        <p class="note" role="status">
          {texts.policies}{' '}
          {policies.map(([side, id], at) => (
            <Fragment key={side}>
              {at > 0 && ', '}
              <PolicyName id={id} /> ({side})
            </Fragment>
          ))}
          .
        </p>
      )}
      {explanation && <Markdown text={explanation} />}
      <div class="actions">
        <button type="button" class="primary" onClick={onNext} aria-keyshortcuts="Enter">
          {texts.next}
          <kbd>↵</kbd>
        </button>
      </div>
    </div>
  );
}

/** The title says it, except why somebody is paused or not allowed. */
function describeEnd({ reason, words }: Extract<View, { name: 'end' }>, texts: Texts): string | undefined {
  if (reason === 'empty') return texts.lookAgain;
  return reason === 'done' || reason === 'closed' ? undefined : toSentence(words);
}

type Known = NonNullable<Reservation['choice']>;

function describeExpected(texts: Texts, expected: Known, choice: Known): string {
  const [wanted, given] = [texts.choices[expected], texts.choices[choice]];
  return expected === choice ? texts.calibrationRight(wanted) : texts.calibrationWrong(wanted, given);
}

function NoticeLine({ notice }: { notice: Notice | null }) {
  const texts = useTexts();
  if (!notice) return null;
  return (
    <p class="note" role="alert" dir="auto">
      {'text' in notice ? texts[notice.text] : toSentence(notice.words)}
    </p>
  );
}

/** The API's messages begin in lower case, because they are often quoted. */
function toSentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
