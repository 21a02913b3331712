// The raters who change or retract votes while a round selects pairs. It selects again without their new pairs, which stay new:
// each attempt has fewer raters, so none of them can keep a round from ending. Learned pairs can no longer be changed.

import type { Database } from '../../shared/database/connect.ts';
import { lockPairs } from '../data/lock-pairs.ts';
import type { RoundPair } from '../data/round-pairs.ts';
import type { RoundLog } from './log.ts';

export function omitUnsettled(pairs: RoundPair[], unsettled: ReadonlySet<string>): RoundPair[] {
  return pairs.filter((pair) => !isUnsettled(pair, unsettled));
}

/**
 * Writes while the pairs are locked, so that no name of an erased rater is written behind the erasure. False, with the raters
 * added and nothing written, if some of the pairs are no longer what they were.
 */
export async function writeIfSettled(
  log: RoundLog,
  pairs: RoundPair[],
  unsettled: Set<string>,
  work: (transaction: Database) => Promise<unknown>,
): Promise<boolean> {
  const changed = await log.write(async (transaction) => {
    const found = await lockPairs(transaction, pairs);
    if (found.length === 0) await work(transaction);
    return found;
  });
  if (changed.length === 0) return true;
  const revised = new Set(changed.filter(({ isErased }) => !isErased).map(({ id }) => id));
  const raters = new Set(pairs.filter(({ id }) => revised.has(id)).map(identifyRater));
  for (const rater of raters) unsettled.add(rater);
  const count = pairs.filter((pair) => isUnsettled(pair, raters)).length;
  await log.addEvent(
    'message',
    'some of the pairs were changed, retracted or erased meanwhile; selecting again' +
      (raters.size > 0
        ? `, and leaving ${count} pairs, all of ${raters.size} raters who changed or retracted votes, for a later round`
        : ''),
  );
  return false;
}

function isUnsettled(pair: RoundPair, unsettled: ReadonlySet<string>): boolean {
  return pair.learnedIn === null && unsettled.has(identifyRater(pair));
}

/** By the key that stored the vote too, so that no key holds up what another one stored under the same name. */
function identifyRater({ tenant, created_by, rater }: RoundPair): string {
  return JSON.stringify([tenant, created_by, rater]);
}
