// How many generations may run and wait, in total and of one caller. If several callers share a server, a caller may hold
// at most as many places as it leaves free (Choudhury and Hahne's dynamic threshold): one alone gets half of them, n
// callers get 1/(n + 1) each, and there is room for another one, without a list of callers.
import { AttuneError } from '../../shared/error.ts';

export type AdmissionLimits = {
  maxRows: number;
  maxQueue: number;
  /** Whether several callers are told apart. Default: false; a single one may take all places. */
  isShared?: boolean;
};

/** `held` and `own`: places taken, by all and by this caller; `added`: those that the new request needs. */
export type Places = { held: number; own: number; added: number };

/** Throws `queue_full` if there are too few places. A request that finds nobody before it is always admitted. */
export function validatePlaces({ held, own, added }: Places, { maxRows, maxQueue, isShared }: AdmissionLimits): void {
  const limit = maxRows + maxQueue;
  if (held > 0 && held + added > limit)
    throw queueFull(`the queue is full: ${held} generations run or wait, the limit is ${limit}`);
  if (isShared && own > 0 && own + added > limit - held)
    throw queueFull(
      `this API key's share of the queue is full: ${own} of its generations run or wait, and it may have at most as many ` +
        `as there are free places (${limit - held} of ${limit})`,
    );
}

function queueFull(problem: string): AttuneError {
  return new AttuneError(`generation: ${problem}; retry later`, { status: 429, code: 'queue_full', retry: true });
}
