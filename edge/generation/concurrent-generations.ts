// How many generations each key runs at once in this process, queued ones included. Only keys with a limit are counted.

import { AttuneError } from '../../shared/error.ts';

export class ConcurrentGenerations {
  private readonly running = new Map<string, number>();

  /** Returns the function that gives the places back. Throws a 429 over the limit; `max` null: there is none. */
  begin(callerId: string, count: number, max: number | null): () => void {
    if (max === null) return () => {};
    const running = this.running.get(callerId) ?? 0;
    if (count > max)
      throw new AttuneError(
        `this request is ${count} generations, and ${callerId} may run ${max} at once; ask for fewer choices or prompts`,
        { status: 429, code: 'concurrent_generations', retry: false },
      );
    if (running + count > max)
      throw new AttuneError(
        `${callerId} runs ${running} of the ${max} generations that it may run at once; retry when one has ended`,
        { status: 429, code: 'concurrent_generations', retry: true },
      );
    this.running.set(callerId, running + count);
    return () => {
      const left = this.running.get(callerId)! - count;
      if (left > 0) this.running.set(callerId, left);
      else this.running.delete(callerId);
    };
  }
}
