// Votes on their way. Each is kept in this browser until the API has answered, and has an idempotency key, so that it takes
// effect once however often it is sent: after a reload, from two tabs, or because the answer was lost.

import { ApiError, api, ask, type Preference, type Reservation } from '../api.ts';
import { forget, recall, remember } from '../storage.ts';
import type { toVote } from './draft.ts';

type Vote = ReturnType<typeof toVote>;
/** On a reservation, or on a comparison of the arena: the first vote, or a change of it. */
export type Letter = { key: string } & (
  | { reservation: string; vote: Vote }
  | { comparison: string; vote: Vote }
  | { preference: string; vote: Vote }
);

export class Outbox {
  readonly #name: string;

  /** `holder`: whose votes these are; nobody else who uses this browser sends them. */
  constructor(holder: string) {
    this.#name = `outbox.${holder}`;
  }

  list(): Letter[] {
    return recall<Letter[]>(this.#name) ?? [];
  }

  keep(letter: Letter): void {
    remember(this.#name, [...this.list().filter(({ key }) => key !== letter.key), letter]);
  }

  discard({ key }: Letter): void {
    const left = this.list().filter((letter) => letter.key !== key);
    if (left.length > 0) remember(this.#name, left);
    else forget(this.#name);
  }

  /** Throws an ApiError; the letter stays if it may be delivered later. */
  async deliver(letter: Letter): Promise<Reservation | Preference> {
    try {
      const answer = await post(letter);
      this.discard(letter);
      return answer;
    } catch (error) {
      const isKept = error instanceof ApiError && (error.isTransient || error.status === 401);
      if (!isKept) this.discard(letter);
      throw error;
    }
  }

  /** What an earlier visit left. What the API refuses now is gone: there is nobody to ask. */
  async deliverAll(): Promise<void> {
    for (const letter of this.list()) {
      try {
        await this.deliver(letter);
      } catch (error) {
        if (error instanceof ApiError && error.isTransient) throw error;
      }
    }
  }
}

/** Not crypto.randomUUID, which a page without TLS does not have. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function post(letter: Letter): Promise<Reservation | Preference> {
  const header = { 'Idempotency-Key': letter.key };
  if ('reservation' in letter)
    return ask(
      api.POST('/v1/reservations/{id}/vote', {
        params: { path: { id: letter.reservation }, header },
        body: { tags: [], ...letter.vote },
      }),
    );
  if ('preference' in letter)
    return ask(
      api.POST('/v1/preferences/{id}', {
        params: { path: { id: letter.preference }, header },
        body: { strength: null, edit: null, ...letter.vote },
      }),
    );
  return ask(
    api.POST('/v1/preferences', { params: { header }, body: { comparison: letter.comparison, ...letter.vote } }),
  );
}
