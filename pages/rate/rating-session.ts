// A rater at work in one queue: gets an item, keeps it reserved, sends the vote, and takes it back. It says what the page
// shows, and knows nothing of how.

import { ApiError, api, ask, type Choice, type Queue, type QueueProgress, type Reservation } from '../api.ts';
import { prepareFormulas } from '../markdown/math.ts';
import { forget, recall, remember } from '../storage.ts';
import {
  type Draft,
  forgetDraft,
  getEdit,
  isSide,
  newDraft,
  recallDraft,
  rememberDraft,
  toDraft,
  toVote,
} from './draft.ts';
import { type Letter, newKey, type Outbox } from './outbox.ts';
import { listPolicies } from './policy-name.tsx';
import { Stopwatch } from './stopwatch.ts';

/** Why the page says something beside what it shows: one of its texts, or the API's words. */
export type Notice = ({ text: NoticeText } | { words: string }) & { canRetry?: true };
type NoticeText =
  | 'chooseFirst'
  | 'chooseSideFirst'
  | 'chooseStrength'
  | 'sameEdit'
  | 'undone'
  | 'lapsed'
  | 'lapsedNext'
  | 'noConnection';

export type View =
  | { name: 'loading' }
  | { name: 'item'; reservation: Reservation; draft: Draft; isSending: boolean }
  /** the vote is kept until there is a connection */
  | { name: 'waiting'; reservation: Reservation; draft: Draft; letter: Letter }
  /** voted, and there is something to show: the expected answer, or the policies */
  | { name: 'answered'; reservation: Reservation }
  | { name: 'end'; reason: EndReason; words: string }
  | { name: 'failed'; words: string; status: number };

export type EndReason = 'empty' | 'done' | 'paused' | 'closed' | 'deadline' | 'not_allowed';
/** The vote that can be undone. */
type Last = { id: string; choice: Choice; seconds: number };

/** The reservation is worth nothing any more: the next one, or the reason why there is none, takes its place. */
const ENDED = new Set(['reservation_lapsed', 'rater_paused', 'not_allowed', 'queue_closed']);

const LOOK_AGAIN_MS = 15_000;
const RETRY_MS = [1000, 2000, 4000, 8000, 15_000];
const MAX_HEARTBEAT_MS = 60_000;

export class RatingSession {
  view: View = { name: 'loading' };
  notice: Notice | null = null;
  progress: QueueProgress | null = null;
  last: Last | null;
  queue: Queue;

  readonly #outbox: Outbox;
  readonly #lastName: string;
  readonly #onChange: () => void;
  readonly #tabs = new BroadcastChannel('attune-votes');
  #watch: Stopwatch | null = null;
  #timer: number | undefined;
  #heartbeat: number | undefined;
  #attempts = 0;
  #underway: Letter | null = null;
  #ahead: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(queue: Queue, holder: string, outbox: Outbox, onChange: () => void) {
    this.queue = queue;
    this.#outbox = outbox;
    this.#onChange = onChange;
    this.#lastName = `last.${holder}.${queue.id}`;
    this.last = recall<Last>(this.#lastName);
    this.#tabs.onmessage = ({ data }) => void this.#seeVoteElsewhere(data);
    document.addEventListener('visibilitychange', this.#see);
    window.addEventListener('online', this.#retryNow);
    window.addEventListener('pagehide', this.#save);
  }

  async start(): Promise<void> {
    void this.#loadProgress();
    try {
      await this.#outbox.deliverAll();
    } catch {
      // Sent again before the next one; a vote that waits does not keep its rater from working.
    }
    await this.next();
  }

  close(): void {
    this.#isClosed = true;
    this.#save();
    this.#leaveItem();
    clearTimeout(this.#timer);
    this.#tabs.close();
    document.removeEventListener('visibilitychange', this.#see);
    window.removeEventListener('online', this.#retryNow);
    window.removeEventListener('pagehide', this.#save);
  }

  async next(notice: Notice | null = null): Promise<void> {
    this.#leaveItem();
    this.notice = notice;
    this.#show({ name: 'loading' });
    try {
      const path = { id: this.queue.id };
      await this.#ahead;
      const next = await ask(api.POST('/v1/queues/{id}/next', { params: { path }, body: {} }));
      this.#attempts = 0;
      if (next.id !== null) {
        // Its sides take seconds to generate, which pass while the rater reads this one. What fails here fails again in `next`.
        this.#ahead = api
          .POST('/v1/queues/{id}/next', { params: { path }, body: { ahead: true } })
          .then(({ data }) => prepareItem(data))
          .catch(() => {});
        await prepareItem(next);
        return await this.#showItem(next);
      }
      this.#show({ name: 'end', reason: next.reason, words: next.message });
      void this.#loadProgress();
      if (next.reason === 'empty') this.#schedule(() => this.next(), LOOK_AGAIN_MS);
    } catch (error) {
      const { message, status } = toFailure(error);
      this.#show({ name: 'failed', words: message, status });
      if (status !== 401 && toFailure(error).isTransient) this.#schedule(() => this.next(notice), this.#nextDelay());
    }
  }

  change(draft: Partial<Draft>): void {
    if (this.view.name !== 'item' || this.view.isSending) return;
    this.notice = null;
    this.#show({ ...this.view, draft: { ...this.view.draft, ...draft } });
    this.#save();
  }

  async send(choice: Choice | null = null): Promise<void> {
    const { view } = this;
    if (view.name !== 'item' || view.isSending) return;
    const { reservation } = view;
    const draft = choice === null ? view.draft : { ...view.draft, choice };
    const problem = this.#findProblem(draft, reservation);
    if (problem) return this.tell({ text: problem });
    this.#save();
    const letter = { key: newKey(), reservation: reservation.id, vote: toVote(draft, this.#watch?.read() ?? 0) };
    this.#outbox.keep(letter);
    await this.#deliver(letter, reservation, draft);
  }

  /** Takes the last vote back, or the one that is waiting. */
  async undo(): Promise<void> {
    const { view, last } = this;
    if (view.name === 'waiting') {
      clearTimeout(this.#timer);
      this.#outbox.discard(view.letter);
      this.#underway = null;
      return this.#showItem(view.reservation);
    }
    if (!last || view.name === 'loading' || (view.name === 'item' && view.isSending)) return;
    this.#save();
    try {
      const params = { path: { id: last.id } };
      const voted = await ask(api.GET('/v1/reservations/{id}', { params }));
      const reopened = await ask(api.DELETE('/v1/reservations/{id}/vote', { params }));
      this.#setLast(null);
      rememberDraft(reopened.id, toDraft(voted, last.seconds));
      await this.#showItem(reopened);
      this.tell({ text: 'undone' });
      void this.#loadProgress();
    } catch (error) {
      const failure = toFailure(error);
      if (!failure.isTransient) this.#setLast(null);
      this.tell({ words: failure.message });
    }
  }

  tell(notice: Notice | null): void {
    this.notice = notice;
    this.#changed();
  }

  #findProblem(draft: Draft, reservation: Reservation) {
    const { choice, strength } = draft;
    if (choice === null) return 'chooseFirst';
    if (!isSide(choice)) return null;
    if (strength === null && this.queue.settings.strength === 'required') return 'chooseStrength';
    return getEdit(draft)?.text === reservation[choice].text ? 'sameEdit' : null;
  }

  async #deliver(letter: Letter, reservation: Reservation, draft: Draft): Promise<void> {
    if (this.#underway?.key === letter.key) return;
    this.#underway = letter;
    const seconds = letter.vote.seconds;
    if (this.view.name !== 'waiting') this.#show({ name: 'item', reservation, draft, isSending: true });
    try {
      const voted = (await this.#outbox.deliver(letter)) as Reservation;
      // Taken back while it was on its way: the next vote on it changes it.
      if (this.#underway !== letter) return;
      this.#underway = null;
      this.#attempts = 0;
      forgetDraft(voted.id);
      this.#tabs.postMessage(voted.id);
      // What was expected, or which policies they are, has been shown: such a vote stays.
      const isFinal = voted.purpose === 'calibration' || voted.policies !== null;
      this.#setLast(isFinal ? null : { id: voted.id, choice: letter.vote.choice, seconds });
      void this.#loadProgress();
      if (
        voted.state === 'voted' &&
        (voted.expected !== null || voted.explanation !== null || listPolicies(voted).length > 0)
      ) {
        this.#leaveItem();
        this.#show({ name: 'answered', reservation: voted });
      } else await this.next();
    } catch (error) {
      if (this.#underway !== letter) return;
      this.#underway = null;
      const failure = toFailure(error);
      if (failure.status === 401) this.#show({ name: 'failed', words: failure.message, status: 401 });
      else if (failure.isTransient) {
        this.#show({ name: 'waiting', reservation, draft, letter });
        this.#schedule(() => this.#deliver(letter, reservation, draft), this.#nextDelay());
      } else if (failure.code !== null && ENDED.has(failure.code)) {
        forgetDraft(reservation.id);
        // Of the others the next view says why.
        await this.next(failure.code === 'reservation_lapsed' ? { words: failure.message } : null);
      } else {
        this.notice = { words: failure.message };
        this.#show({ name: 'item', reservation, draft, isSending: false });
      }
    }
  }

  async #showItem(reservation: Reservation): Promise<void> {
    this.#leaveItem();
    if (reservation.guidelines_version !== this.queue.guidelines.version) await this.#loadQueue();
    const draft = recallDraft(reservation.id);
    this.#watch = new Stopwatch(draft.seconds);
    this.#show({ name: 'item', reservation, draft, isSending: false });
    const every = Math.min(MAX_HEARTBEAT_MS, (this.queue.settings.reservation_seconds * 1000) / 3);
    this.#heartbeat = window.setInterval(() => void this.#beat(), every);
  }

  #leaveItem(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#watch?.stop();
    this.#watch = null;
  }

  /** Whoever does not look at the page lets the reservation lapse. */
  async #beat(): Promise<void> {
    if (this.view.name !== 'item' || document.visibilityState !== 'visible') return;
    this.#save();
    const { reservation } = this.view;
    const params = { path: { id: reservation.id } };
    try {
      await ask(api.POST('/v1/reservations/{id}/heartbeat', { params }));
    } catch (error) {
      if (!this.#isShown(reservation.id)) return;
      const { code } = toFailure(error);
      // In another tab, of another browser perhaps.
      if (code === 'already_voted' || code === 'rater_paused' || code === 'not_allowed') return this.next();
      if (code !== 'reservation_lapsed') return;
      const isEmpty = JSON.stringify({ ...this.view.draft, seconds: 0 }) === JSON.stringify(newDraft());
      if (isEmpty) return this.next({ text: 'lapsedNext' });
      clearInterval(this.#heartbeat);
      this.tell({ text: 'lapsed' });
    }
  }

  #isShown(id: string): boolean {
    return this.view.name === 'item' && this.view.reservation.id === id;
  }

  async #seeVoteElsewhere(id: unknown): Promise<void> {
    if (typeof id === 'string' && this.#isShown(id)) await this.next();
  }

  async #loadProgress(): Promise<void> {
    const path = { id: this.queue.id };
    this.progress = await ask(api.GET('/v1/queues/{id}/progress', { params: { path } })).catch(() => this.progress);
    this.#changed();
  }

  async #loadQueue(): Promise<void> {
    const path = { id: this.queue.id };
    this.queue = await ask(api.GET('/v1/queues/{id}', { params: { path } })).catch(() => this.queue);
  }

  #setLast(last: Last | null): void {
    this.last = last;
    if (last) remember(this.#lastName, last);
    else forget(this.#lastName);
  }

  #see = () => {
    if (document.visibilityState === 'visible') void this.#beat();
    else this.#save();
  };

  #save = () => {
    if (this.view.name !== 'item') return;
    const { reservation, draft } = this.view;
    rememberDraft(reservation.id, { ...draft, seconds: this.#watch?.read() ?? draft.seconds });
  };

  #retryNow = () => {
    const { view } = this;
    clearTimeout(this.#timer);
    if (view.name === 'waiting') void this.#deliver(view.letter, view.reservation, view.draft);
    else if (view.name === 'failed' && view.status === 0) void this.next();
  };

  #nextDelay(): number {
    return RETRY_MS[Math.min(this.#attempts++, RETRY_MS.length - 1)]!;
  }

  #schedule(work: () => Promise<void>, delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void work(), delay);
  }

  #show(view: View): void {
    this.view = view;
    this.#changed();
  }

  #changed(): void {
    if (!this.#isClosed) this.#onChange();
  }
}

function toFailure(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(String(error), -1, null);
}

/** What shows its texts is there when they are. */
async function prepareItem(item: Reservation | { id: null } | undefined): Promise<void> {
  if (item && item.id !== null) await prepareFormulas(JSON.stringify(item.prompt), item.a.text, item.b.text);
}
