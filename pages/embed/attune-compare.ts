// <attune-compare comparison="cmp_…" token="et_…" base="https://…">: two answers of a comparison in a product's own page, and
// the vote of its user. Events attune-ready, attune-vote, attune-undo and attune-error leave it. Nothing in it is parsed as HTML,
// and its styles are a constructed sheet, so that a page with a strict Content-Security-Policy and Trusted Types can show it.

import { type Api, ApiError, type Choice, type Comparison, openApi } from './api.ts';
import { createLayout, type Layout } from './layout.ts';
import { renderText } from './render-text.ts';
import { STYLE } from './style.ts';
import { findTexts, type Texts } from './texts.ts';
import { createStopwatch, type Stopwatch } from './visible-time.ts';

/** Where this script came from: the server that has the comparison. */
const SCRIPT_ORIGIN = new URL((document.currentScript as HTMLScriptElement | null)?.src || location.href).origin;

const KEYS: Record<string, Choice> = { a: 'a', b: 'b', t: 'tie', x: 'both_bad' };

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

/** `seconds`: sent with the first vote; `id`: of the preference, or the one that it is sent by. */
type Vote = { choice: Choice; seconds: number; id: string };

export class AttuneCompare extends HTMLElement {
  static observedAttributes = ['comparison', 'token', 'base', 'format', 'prompt'];

  #layout: Layout | null = null;
  #comparison: Comparison | null = null;
  /** the stored vote: the id of its preference */
  #vote: Vote | null = null;
  /** the vote that is being sent, or could not be; the same one is sent again */
  #pending: Vote | null = null;
  #stopwatch: Stopwatch | null = null;
  #loading: AbortController | null = null;
  /** what failed, to be tried again */
  #again: () => void = () => {};

  connectedCallback(): void {
    if (!this.shadowRoot) {
      const root = this.attachShadow({ mode: 'open' });
      root.adoptedStyleSheets = [sheet];
      this.#layout = createLayout(this.#texts(), {
        vote: (choice) => void this.#choose(choice),
        undo: () => void this.#undo(),
        retry: () => this.#again(),
      });
      root.append(this.#layout.root);
      this.addEventListener('keydown', (event) => this.#press(event));
    }
    void this.#load();
  }

  disconnectedCallback(): void {
    this.#loading?.abort();
    this.#stopwatch?.stop();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (!this.isConnected || !this.#layout || before === after) return;
    if (name === 'format' || name === 'prompt') this.#show();
    // A new token for the same comparison goes on with it.
    else if (name === 'token' && this.#comparison)
      void (this.#pending ? this.#send(this.#pending) : this.#say('', { undo: this.#vote !== null }));
    else void this.#load();
  }

  #texts(): Texts {
    const texts = { ...findTexts(this) };
    for (const name of Object.keys(texts) as (keyof Texts)[])
      texts[name] = this.getAttribute(`text-${name}`) ?? texts[name];
    return texts;
  }

  #api(): Api {
    return openApi(this.getAttribute('base') || SCRIPT_ORIGIN, this.getAttribute('token') ?? '');
  }

  /** Attributes that are set one after the other load once. */
  async #load(): Promise<void> {
    this.#loading?.abort();
    const loading = new AbortController();
    this.#loading = loading;
    this.#comparison = null;
    this.#vote = null;
    this.#pending = null;
    this.#show();
    await Promise.resolve();
    const id = this.getAttribute('comparison');
    if (loading.signal.aborted || !id || !this.getAttribute('token')) return;
    this.#say(this.#texts().loading);
    try {
      const comparison = await this.#api().getComparison(id);
      if (loading.signal.aborted) return;
      this.#comparison = comparison;
      this.#stopwatch?.stop();
      this.#stopwatch = createStopwatch();
      this.#show();
      this.#say('');
      this.#emit('attune-ready', { comparison: id });
    } catch (error) {
      if (!loading.signal.aborted) this.#fail(error, () => void this.#load());
    }
  }

  #show(): void {
    const format = this.getAttribute('format');
    const comparison = this.#comparison;
    const prompt = comparison && this.hasAttribute('prompt') ? lastQuestion(comparison.prompt) : null;
    this.#layout?.show({
      prompt: prompt === null ? null : renderText(prompt, 'text'),
      sides: comparison && [renderText(comparison.a.text, format), renderText(comparison.b.text, format)],
    });
    this.#mark();
  }

  #mark(): void {
    const choice = this.#pending?.choice ?? this.#vote?.choice ?? null;
    this.#layout?.mark(choice, { isOpen: this.#comparison !== null && this.#pending === null });
  }

  #say(message: string, offers: { undo?: boolean; retry?: boolean; isError?: boolean } = {}): void {
    this.#layout?.say(message, offers);
  }

  #press(event: KeyboardEvent): void {
    const choice = KEYS[event.key.toLowerCase()];
    if (!choice || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
    if (!this.#comparison || this.#pending) return;
    event.preventDefault();
    void this.#choose(choice);
  }

  async #choose(choice: Choice): Promise<void> {
    if (!this.#comparison || this.#pending || this.#vote?.choice === choice) return;
    await this.#send({ choice, seconds: this.#stopwatch?.read() ?? 0, id: createId() });
  }

  async #send(vote: Vote): Promise<void> {
    const comparison = this.#comparison;
    if (!comparison) return;
    this.#pending = vote;
    this.#mark();
    this.#say('');
    try {
      const stored = this.#vote;
      if (stored) await this.#api().changeVote(stored.id, vote.choice);
      const id = stored?.id ?? (await this.#api().vote({ comparison: comparison.id, ...vote })).id;
      if (this.#comparison !== comparison) return;
      this.#vote = { ...vote, id };
      this.#pending = null;
      this.#mark();
      this.#say(this.#texts().thanks, { undo: true });
      this.#emit('attune-vote', { comparison: comparison.id, choice: vote.choice, preference: id });
    } catch (error) {
      if (this.#comparison === comparison) this.#fail(error, () => void this.#send(vote));
    }
  }

  async #undo(): Promise<void> {
    const [comparison, vote] = [this.#comparison, this.#vote];
    if (!comparison || !vote || this.#pending) return;
    try {
      await this.#api().retractVote(vote.id);
      if (this.#comparison !== comparison) return;
      this.#vote = null;
      this.#mark();
      this.#say(this.#texts().undone);
      this.#layout?.focusVotes();
      this.#emit('attune-undo', { comparison: comparison.id, preference: vote.id });
    } catch (error) {
      if (this.#comparison === comparison) this.#fail(error, () => void this.#undo());
    }
  }

  #fail(error: unknown, again: () => void): void {
    this.#again = again;
    const { status, code, message } = error instanceof ApiError ? error : new ApiError(0, 'unknown', String(error));
    const texts = this.#texts();
    const isOver = code === 'already_voted' || code === 'already_used';
    const canRetry = status === 0 || status === 429 || status >= 500;
    // A vote that waits for another token is kept.
    if (!canRetry && status !== 401) this.#pending = null;
    this.#mark();
    if (isOver) this.#layout?.close();
    const text =
      code === 'already_used'
        ? texts.used
        : code === 'already_voted'
          ? texts.voted
          : status === 401 || status === 403
            ? texts.expired
            : status === 404
              ? texts.missing
              : status === 0
                ? texts.failed
                : message;
    this.#say(text, { retry: canRetry, isError: true });
    this.#emit('attune-error', { comparison: this.getAttribute('comparison'), status, code, message });
  }

  #emit(name: string, detail: object): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

/** What the answers answer. */
function lastQuestion(prompt: Comparison['prompt']): string {
  if (typeof prompt === 'string') return prompt;
  return prompt.findLast(({ role }) => role === 'user')?.content ?? '';
}

/** crypto.randomUUID is only there over HTTPS. */
function createId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

if (!customElements.get('attune-compare')) customElements.define('attune-compare', AttuneCompare);
