// How many requests of one kind, each of which lasts, a process runs at once, and of those of one caller no more than the
// share that it may have of the queue. It only counts: nobody waits.

import { AttuneError } from '../../shared/error.ts';
import { exceedsShare } from '../engine/admission.ts';
import type { Tenants } from '../engine/tenants.ts';

const RETRY_AFTER_MS = 10_000;

type Options = { max: number; tenants: Tenants };

export class ConcurrencyLimit {
  private readonly kind: string;
  private readonly options: Options;
  private readonly running = new Set<{ callerId: string }>();

  /** `kind`: plural, for the error message */
  constructor(kind: string, options: Options) {
    this.kind = kind;
    this.options = options;
  }

  /** Returns the function that ends what begins here. Throws a 429 at the limit. */
  enter(callerId: string): () => void {
    const { max, tenants } = this.options;
    const held = this.running.size;
    const own = [...this.running].filter((request) => request.callerId === callerId).length;
    if (held >= max) throw tooMany(`this server runs ${max} ${this.kind} already, its limit; retry when one has ended`);
    if (tenants.isShared && exceedsShare({ held, own, added: 1 }, max))
      throw tooMany(
        `this API key has its share of the ${max} ${this.kind} that this server runs at once: ${own} of them are its ` +
          `own, and ${max - held} places are left for all keys; retry when one of its own has ended`,
      );
    const request = { callerId };
    this.running.add(request);
    return () => void this.running.delete(request);
  }
}

function tooMany(message: string): AttuneError {
  return new AttuneError(message, {
    status: 429,
    code: 'too_many_requests',
    retry: true,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
