// How many requests of one kind, each of which lasts, may run at once in this process. It only counts: nobody waits, so it
// works in a Worker too, where no request can wait for another.

import { AttuneError } from '../../shared/error.ts';

const RETRY_AFTER_MS = 10_000;

export class ConcurrencyLimit {
  private readonly max: number;
  private readonly kind: string;
  private running = 0;

  /** `kind`: plural, for the error message */
  constructor(max: number, kind: string) {
    this.max = max;
    this.kind = kind;
  }

  /** Returns the function that ends what begins here. Throws a 429 at the limit. */
  enter(): () => void {
    if (this.running >= this.max)
      throw new AttuneError(`this server runs ${this.max} ${this.kind} already, its limit; retry when one has ended`, {
        status: 429,
        code: 'too_many_requests',
        retry: true,
        retryAfterMs: RETRY_AFTER_MS,
      });
    this.running++;
    let hasLeft = false;
    return () => {
      if (!hasLeft) this.running--;
      hasLeft = true;
    };
  }
}
