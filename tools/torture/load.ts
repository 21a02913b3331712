// Clients that send requests all the time and remember what they were told. One with an Idempotency-Key repeats its
// request until it is acknowledged, as docs/api.md tells clients to.

import { setTimeout as sleep } from 'node:timers/promises';
import { buildRequest, KINDS, type Kind, type Outgoing, send } from './requests.ts';

/** Everything that a client was told about one request. */
export type Sent = {
  request: Outgoing;
  /** What was being injected when it was first sent. */
  during: string;
  outcome: 'acknowledged' | 'not stored' | 'unknown';
  id: string | null;
  texts: string[];
  late: number;
  /** Answers that no client should get: not a success, and no error that says what to do. */
  surprises: string[];
};

/** What the load sends, and how long each client waits before its next request; `during` labels the requests. */
export type Mix = { kinds: readonly Kind[]; keyed: readonly boolean[]; during: string; pauseMs?: number };

const EVERYTHING = { kinds: KINDS, keyed: [true, false] };
const RETRY_MS = 150;
/** A keyed request that has not been acknowledged by then counts as lost. */
const GIVE_UP_MS = 90_000;
/** While requests take longer than this, the system counts as not recovered. */
const SLOW_MS = 3000;

export class Load {
  readonly sent: Sent[] = [];
  /** How often each status and code was answered. */
  readonly refusals = new Map<string, number>();
  mix: Mix;
  private readonly url: string;
  private readonly comparisons: string[];
  private readonly random: () => number;
  private readonly clients: Promise<void>[];
  private readonly pending = new Set<number>();
  /** Starts and ends of the attempts that failed or were slow, in the order of their ends. */
  private readonly bad: { startMs: number; endMs: number }[] = [];
  private acknowledged = 0;
  private isOver = false;

  constructor(url: string, comparisons: string[], concurrency: number, random: () => number, mix?: Mix) {
    this.url = url;
    this.comparisons = comparisons;
    this.random = random;
    this.mix = mix ?? { ...EVERYTHING, during: 'no fault' };
    this.clients = Array.from({ length: concurrency }, () => this.runClient());
  }

  sendEverything(during: string): void {
    this.mix = { ...EVERYTHING, during };
  }

  /** Requests in flight are answered, and keyed ones acknowledged, first. */
  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.clients);
  }

  /**
   * Milliseconds from `sinceMs` until the last request that was sent after it, and failed or was slow, has ended; for
   * `quietMs` no such request may follow. Null if that takes longer than the timeout.
   */
  async measureRecovery(sinceMs: number, quietMs: number, timeoutMs: number): Promise<number | null> {
    const before = this.acknowledged;
    while (performance.now() - sinceMs < timeoutMs) {
      await sleep(20);
      const nowMs = performance.now();
      const isStuck = [...this.pending].some((startMs) => startMs > sinceMs && nowMs - startMs > SLOW_MS);
      const lastBadMs = this.bad.findLast(({ startMs }) => startMs > sinceMs)?.endMs ?? sinceMs;
      if (!isStuck && nowMs - lastBadMs > quietMs && this.acknowledged > before + this.clients.length)
        return lastBadMs - sinceMs;
    }
    return null;
  }

  private async runClient(): Promise<void> {
    while (!this.isOver) {
      const { kinds, keyed, during, pauseMs = 0 } = this.mix;
      await sleep(pauseMs);
      const pick = <T>(items: readonly T[]) => items[Math.floor(this.random() * items.length)]!;
      const request = buildRequest(pick(kinds), pick(keyed), pick(this.comparisons), this.random);
      const sent: Sent = { request, during, outcome: 'unknown', id: null, texts: [], late: 0, surprises: [] };
      this.sent.push(sent);
      const giveUpMs = performance.now() + GIVE_UP_MS;
      do await this.attempt(sent);
      while (request.key !== null && sent.outcome !== 'acknowledged' && performance.now() < giveUpMs);
    }
  }

  private async attempt(sent: Sent): Promise<void> {
    const startMs = performance.now();
    this.pending.add(startMs);
    const answer = await send(this.url, sent.request);
    this.pending.delete(startMs);
    const endMs = performance.now();
    if (answer.outcome !== 'acknowledged' || endMs - startMs > SLOW_MS) this.bad.push({ startMs, endMs });
    sent.outcome = answer.outcome;
    if (answer.outcome === 'acknowledged') {
      this.acknowledged++;
      sent.id = answer.id;
      sent.texts = answer.texts;
      return;
    }
    if (answer.outcome === 'unknown' && answer.isLate) sent.late++;
    const code = /^\d{3} \w*/.exec(answer.message)?.[0] ?? 'no answer';
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    if (isSurprising(answer)) sent.surprises.push(answer.message);
    await sleep(RETRY_MS);
  }
}

/** A fault of Postgres may answer 503 or cut the connection, and nothing else. */
function isSurprising(answer: { outcome: string; status?: number; message: string }): boolean {
  if (answer.outcome === 'not stored') return answer.status !== 503;
  return /^\d{3} /.test(answer.message) && !answer.message.startsWith('503 postgres_outcome_unknown');
}

/** Comparisons for the votes of a load. */
export async function createComparisons(url: string): Promise<string[]> {
  const ids: string[] = [];
  for (let count = 0; count < 8; count++) {
    const answer = await send(url, buildRequest('comparison', false, '', Math.random));
    if (answer.outcome !== 'acknowledged') throw new Error(`a comparison was refused: ${answer.message}`);
    ids.push(answer.id);
  }
  return ids;
}
