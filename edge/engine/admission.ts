// How many generations may run and wait, in total and of one caller. If several callers share a server, a caller may hold
// at most twice as many places as are left free (Choudhury and Hahne's dynamic threshold): one alone gets two thirds of
// them, n callers get 2 of 2n + 1 parts each, and there is room for another one, without a list of callers.
// Imports and event streams are shared by the same rule.
import { AttuneError } from '../../shared/error.ts';
import type { Tenants } from './tenants.ts';

export type AdmissionLimits = {
  maxRows: number;
  maxQueue: number;
  /** Default: there is one, which may take all places. */
  tenants?: Tenants | undefined;
};

const SHARE_OF_FREE = 2;

/** `held`: places taken; `own`: those of other requests of this caller; `added`: those that are needed. */
export type Places = { held: number; own: number; added: number };

/**
 * Throws `queue_full` if there are too few places. A request that finds nobody before it is always admitted, and the
 * only one of its caller may take all that are free: a request that is refused must succeed later.
 */
export function validatePlaces(places: Places, { maxRows, maxQueue, tenants }: AdmissionLimits): void {
  const { held, own, added } = places;
  const limit = maxRows + maxQueue;
  if (held > 0 && held + added > limit)
    throw queueFull(`the queue is full: ${held} generations and scores run or wait, the limit is ${limit}`);
  if (tenants?.isShared && exceedsShare(places, limit))
    throw queueFull(
      `this API key's share of the queue is full: ${own} of its generations and scores run or wait, and it may have at ` +
        `most ${SHARE_OF_FREE} for each place that stays free (${limit - held} of ${limit} are free)`,
    );
}

/** Whether a caller that has some of the places would have more than its share. */
export function exceedsShare({ held, own, added }: Places, limit: number): boolean {
  return own > 0 && own + added > SHARE_OF_FREE * (limit - held - added);
}

function queueFull(problem: string): AttuneError {
  return new AttuneError(`${problem}; retry later`, { status: 429, code: 'queue_full', retry: true });
}
