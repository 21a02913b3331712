// A conversation in the arena: each turn is a comparison, and goes on from the response that was preferred.

import { ApiError, api, ask, type Comparison, type Preference } from '../api.ts';
import { type Draft, getEdit, isSide, newDraft, toVote } from './draft.ts';
import type { SideTexts } from './even-texts.ts';
import { type Letter, newKey, type Outbox } from './outbox.ts';
import type { Notice } from './rating-session.ts';
import { Stopwatch } from './stopwatch.ts';
import { streamComparison } from './stream-comparison.ts';

type Side = 'a' | 'b';

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

const RETRY_MS = 3000;

export class ArenaSession {
  stage: Stage = 'asking';
  notice: Notice | null = null;
  /** The earlier turns of the conversation, and the one at hand. */
  turns: Turn[] = [];

  readonly #outbox: Outbox;
  readonly #onChange: () => void;
  #abort: AbortController | null = null;
  #watch: Stopwatch | null = null;
  #timer: number | undefined;

  constructor(outbox: Outbox, onChange: () => void) {
    this.#outbox = outbox;
    this.#onChange = onChange;
    window.addEventListener('online', this.#retryNow);
  }

  get turn(): Turn | undefined {
    return this.turns.at(-1);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#watch?.stop();
    window.removeEventListener('online', this.#retryNow);
  }

  restart(): void {
    this.#abort?.abort();
    this.turns = [];
    this.#go('asking');
  }

  /** Resolves to whether the prompt was answered, or must be kept for another try. */
  async ask(prompt: string): Promise<boolean> {
    if (this.stage !== 'asking' && this.stage !== 'voted') return false;
    const before = this.turns.filter(({ kept }) => kept !== null);
    const turn: Turn = { prompt, texts: { a: '', b: '' }, comparison: null, draft: newDraft(), vote: null, kept: null };
    const earlier = this.turns;
    this.turns = [...before, turn];
    const abort = new AbortController();
    this.#abort = abort;
    this.#go('writing');
    try {
      const comparison = await streamComparison(
        [...before.flatMap(toMessages), { role: 'user', content: prompt }],
        (texts) => this.#update({ texts }),
        abort.signal,
      );
      const texts = { a: comparison.a.text, b: comparison.b.text };
      this.#watch = new Stopwatch();
      this.#update({ comparison, texts });
      this.#go('voting');
      return true;
    } catch (error) {
      if (this.#abort !== abort) return false;
      this.turns = earlier;
      this.#go(earlier.length > 0 ? 'voted' : 'asking');
      if (!abort.signal.aborted) this.tell({ words: (error as Error).message });
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

  #update(changes: Partial<Turn>): void {
    const { turn } = this;
    if (turn) this.turns = [...this.turns.slice(0, -1), { ...turn, ...changes }];
    this.#onChange();
  }

  #go(stage: Stage): void {
    this.stage = stage;
    this.notice = null;
    this.#onChange();
  }
}

export function getKeptText({ kept, draft, texts }: Turn): string {
  const edit = getEdit(draft);
  return edit && edit.side === kept ? edit.text : texts[kept!];
}

function toMessages(turn: Turn) {
  return [
    { role: 'user' as const, content: turn.prompt },
    { role: 'assistant' as const, content: getKeptText(turn) },
  ];
}
