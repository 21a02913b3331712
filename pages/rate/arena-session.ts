// A conversation in the arena: each turn is a comparison, and goes on from the response that was preferred.

import { ApiError, api, ask, type Preference } from '../api.ts';
import { streamComparison } from '../stream-comparison.ts';
import {
  recallConversation,
  rememberConversation,
  type Side,
  type Stage,
  type Turn,
  toMessages,
} from './conversation.ts';
import { type Draft, getEdit, isSide, newDraft, toVote } from './draft.ts';
import { type Letter, newKey, type Outbox } from './outbox.ts';
import type { Notice } from './rating-session.ts';
import { Stopwatch } from './stopwatch.ts';

const RETRY_MS = 3000;

export class ArenaSession {
  stage: Stage = 'asking';
  notice: Notice | null = null;
  /** The earlier turns of the conversation, and the one at hand. */
  turns: Turn[] = [];

  /** What is in the field of the next prompt. */
  prompt = '';

  readonly #holder: string;
  readonly #outbox: Outbox;
  readonly #onChange: () => void;
  #abort: AbortController | null = null;
  #watch: Stopwatch | null = null;
  #timer: number | undefined;

  /** `holder`: whose conversation it is. */
  constructor(holder: string, outbox: Outbox, onChange: () => void) {
    this.#holder = holder;
    this.#outbox = outbox;
    this.#onChange = onChange;
    const kept = recallConversation(holder);
    if (!kept) return;
    this.turns = kept.turns;
    this.stage = kept.stage;
    this.prompt = kept.prompt;
    if (kept.stage === 'voting') this.#watch = new Stopwatch(kept.seconds);
  }

  start(): void {
    window.addEventListener('online', this.#retryNow);
    window.addEventListener('pagehide', this.#save);
    // A vote that was on its way when the page was left.
    const { turn } = this;
    const isOfTurn = (letter: Letter) =>
      'comparison' in letter
        ? letter.comparison === turn?.comparison?.id
        : 'preference' in letter && letter.preference === turn?.vote?.id;
    const letter = turn && this.#outbox.list().find(isOfTurn);
    if (letter) void this.#deliver(letter);
  }

  get turn(): Turn | undefined {
    return this.turns.at(-1);
  }

  close(): void {
    this.#save();
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#watch?.stop();
    window.removeEventListener('online', this.#retryNow);
    window.removeEventListener('pagehide', this.#save);
  }

  restart(): void {
    this.#abort?.abort();
    this.turns = [];
    this.prompt = '';
    this.#go('asking');
  }

  /** Resolves to whether the prompt was answered, or must be kept for another try. */
  async ask(prompt: string): Promise<boolean> {
    if (this.stage !== 'asking' && this.stage !== 'voted') return false;
    const before = this.turns.filter(({ kept }) => kept !== null);
    const turn: Turn = { prompt, texts: { a: '', b: '' }, comparison: null, draft: newDraft(), vote: null, kept: null };
    const earlier = this.turns;
    this.prompt = prompt;
    // Over a reload the prompt is to be asked again.
    this.#save();
    this.turns = [...before, turn];
    const abort = new AbortController();
    this.#abort = abort;
    this.#go('writing');
    try {
      const comparison = await streamComparison(
        { messages: [...before.flatMap(toMessages), { role: 'user', content: prompt }] },
        (texts) => this.#update({ texts }),
        abort.signal,
      );
      const texts = { a: comparison.a.text, b: comparison.b.text };
      this.#watch = new Stopwatch();
      this.prompt = '';
      this.#update({ comparison, texts });
      this.#go('voting');
      return true;
    } catch (error) {
      if (this.#abort !== abort) return false;
      this.turns = earlier;
      this.#go(earlier.length > 0 ? 'voted' : 'asking');
      if (abort.signal.aborted) return false;
      const { status, message } = error as ApiError;
      this.tell({ ...(status === 0 ? { text: 'noConnection' } : { words: message }), canRetry: true });
      return false;
    }
  }

  stop(): void {
    this.#abort?.abort();
  }

  change(draft: Partial<Draft>): void {
    if (this.stage !== 'voting') return;
    this.notice = null;
    this.#update({ draft: { ...this.turn!.draft, ...draft } });
  }

  async send(choice = this.turn?.draft.choice ?? null): Promise<void> {
    const { turn } = this;
    if (this.stage !== 'voting' || !turn?.comparison) return;
    if (choice === null) return this.tell({ text: 'chooseFirst' });
    const edit = getEdit({ ...turn.draft, choice });
    if (edit && edit.text === turn.texts[edit.side]) return this.tell({ text: 'sameEdit' });
    const vote = toVote({ ...turn.draft, choice }, this.#watch?.read() ?? 0);
    const to = turn.vote ? { preference: turn.vote.id } : { comparison: turn.comparison.id };
    const letter: Letter = { key: newKey(), ...to, vote };
    this.#update({ draft: { ...turn.draft, choice } });
    this.#outbox.keep(letter);
    await this.#deliver(letter);
  }

  keepPrompt(prompt: string): void {
    this.prompt = prompt;
    this.#save();
  }

  keep(side: Side): void {
    this.#update({ kept: side });
  }

  /** Of the last vote, until the conversation went on. */
  revise(): void {
    if (this.stage !== 'voted') return;
    this.#go('voting');
  }

  tell(notice: Notice): void {
    this.notice = notice;
    this.#onChange();
  }

  async #deliver(letter: Letter): Promise<void> {
    clearTimeout(this.#timer);
    if (this.stage !== 'waiting') this.#go('sending');
    try {
      const vote = (await this.#outbox.deliver(letter)) as Preference;
      const { choice } = letter.vote;
      const kept = isSide(choice) ? choice : choice === 'tie' ? 'a' : null;
      this.#update({ vote, kept });
      this.#go('voted');
      await this.#reveal();
    } catch (error) {
      const failure = error as ApiError;
      if (failure instanceof ApiError && failure.isTransient) {
        this.#go('waiting');
        this.#waiting = letter;
        this.#timer = window.setTimeout(() => void this.#deliver(letter), RETRY_MS);
      } else {
        this.#go('voting');
        this.tell({ words: failure.message });
      }
    }
  }

  #waiting: Letter | null = null;

  #retryNow = () => {
    if (this.stage === 'waiting' && this.#waiting) void this.#deliver(this.#waiting);
  };

  /** Which policies wrote it, which the API says after the vote. */
  async #reveal(): Promise<void> {
    const { comparison } = this.turn!;
    const path = { id: comparison!.id };
    const revealed = await ask(api.GET('/v1/comparisons/{id}', { params: { path } })).catch(() => null);
    if (revealed && this.turn?.comparison?.id === revealed.id) this.#update({ comparison: revealed });
  }

  #save = () => {
    const { turns, stage, prompt } = this;
    if (stage === 'writing') return;
    const isVoted = stage === 'asking' || stage === 'voted';
    const seconds = this.#watch?.read() ?? 0;
    rememberConversation(this.#holder, { turns, stage: isVoted ? stage : 'voting', prompt, seconds });
  };

  #update(changes: Partial<Turn>): void {
    const { turn } = this;
    if (turn) this.turns = [...this.turns.slice(0, -1), { ...turn, ...changes }];
    this.#changed();
  }

  #changed(): void {
    this.#save();
    this.#onChange();
  }

  #go(stage: Stage): void {
    this.stage = stage;
    this.notice = null;
    this.#changed();
  }
}
