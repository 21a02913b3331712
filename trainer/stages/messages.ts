// The wording of what a round reports about its pairs.
import type { EarlierRound, PairCounts, PairOrigins } from '../../shared/database/round-types.ts';
import type { Settings } from '../../shared/settings.ts';
import type { WeightedPairs } from './importance.ts';
import type { RoundLog } from './log.ts';
import type { Selection } from './selection.ts';

export async function logSelection(log: RoundLog, counts: PairCounts, minPairs: number): Promise<void> {
  const { left_out: leftOut, quality, ages } = counts;
  await log.addEvent('message', `${counts.train} pairs to train on, ${counts.held_out} held out`, { ages, ...leftOut });
  if (Object.values(quality).some((count) => count > 0))
    await log.addEvent('message', describeQuality(quality), quality);
  if (Object.values(leftOut).some((count) => count > 0))
    await log.addEvent('message', `left out: ${describeLeftOut(leftOut)}`, leftOut, 'warn');
  if (counts.new < minPairs) {
    const message = `${counts.new} new pairs are fewer than the TRAIN_MIN_PAIRS (${minPairs}) of a scheduled round`;
    await log.addEvent('message', message, {}, 'warn');
  }
}

/** Raters and keys are named to the operator only: every tenant may read the events of a round. */
export async function logShares(
  log: RoundLog,
  { counts, origins }: Pick<Selection, 'counts' | 'origins'>,
  settings: Pick<Settings, 'TRAIN_RATER_SHARE' | 'TRAIN_SOURCE_SHARE'>,
): Promise<void> {
  const { rater_share, source_share } = counts.left_out;
  if (rater_share + source_share > 0) {
    const message =
      `${rater_share + source_share} pairs were left out because of the shares of their raters and keys: training pairs of ` +
      'those that `origins` says are capped, and held-out pairs of which a rater gave more than a tenth, or a key a third';
    await log.addEvent('message', message, { rater_share, source_share }, 'warn');
  }
  for (const line of describeShares(origins, settings)) log.reportProgress('selecting', 0, 0, line);
}

/** A line for raters and one for keys, if any were capped. */
export function describeShares(
  { raters, capped_keys }: Pick<PairOrigins, 'raters' | 'capped_keys'>,
  settings: Pick<Settings, 'TRAIN_RATER_SHARE' | 'TRAIN_SOURCE_SHARE'>,
): string[] {
  const describe = (kind: string, parties: { name: string; capped: number }[], setting: keyof typeof settings) => {
    const [first, ...others] = parties.filter(({ capped }) => capped > 0).sort((a, b) => b.capped - a.capped);
    if (!first) return [];
    const total = others.reduce((sum, { capped }) => sum + capped, first.capped);
    const whose = others.length === 0 ? `one ${kind} (${first.name})` : `${others.length + 1} ${kind}s`;
    const most = others.length === 0 ? '' : `, ${first.capped} of them of ${first.name}`;
    const share = Math.round(100 * settings[setting]);
    return [`left out ${total} pairs of ${whose}${most}: ${setting} allows ${share}% of the round`];
  };
  return [
    ...describe(
      'rater',
      raters.map(({ rater, capped }) => ({ name: rater, capped })),
      'TRAIN_RATER_SHARE',
    ),
    ...describe(
      'key',
      capped_keys.map(({ key, capped }) => ({ name: key, capped })),
      'TRAIN_SOURCE_SHARE',
    ),
  ];
}

export function describeLeftOut({ over_limit, stale, identical, empty, ...others }: PairCounts['left_out']): string {
  return (
    `${stale} sampled too long ago, ${identical} with two equal responses, ${empty} with an empty response, ${over_limit} beyond TRAIN_MAX_PAIRS, ` +
    `${others.rater_share} beyond the share of a rater, ${others.source_share} beyond that of a key, ` +
    `${others.near_identical} by MAX_SIMILARITY, ${others.contradictory} by CONTRADICTIONS, ${others.low_agreement} by MIN_AGREEMENT`
  );
}

export function describeQuality({ near_identical, contradictory, low_agreement }: PairCounts['quality']): string {
  return `${near_identical} pairs have two nearly equal responses, ${contradictory} were chosen both ways, on ${low_agreement} fewer than three quarters of several raters agree`;
}

export async function logForgetting(log: RoundLog, rounds: EarlierRound[]): Promise<void> {
  const pairs = rounds.reduce((sum, round) => sum + round.pairs, 0);
  const forgotten = rounds.filter((round) => round.forgotten);
  const change = rounds.reduce((sum, round) => sum + round.pairs * round.margin_change.value, 0) / pairs;
  const summary = `on ${pairs} held-out pairs of ${rounds.length} earlier rounds the margin changed by ${change.toFixed(4)} on average; ${forgotten.length} of them became significantly worse`;
  await log.addEvent('message', summary, { rounds });
  log.reportProgress('evaluating', 0, 0, summary);
  for (const round of forgotten) {
    const { value, interval } = round.margin_change;
    const range = `[${interval!.low.toFixed(4)}, ${interval!.high.toFixed(4)}]`;
    const message = `forgotten: the margin of ${round.pairs} held-out pairs of ${round.round} changed by ${value.toFixed(4)} ${range}; raise TRAIN_REPLAY, lower LEARNING_RATE or EPOCHS, or train from the root`;
    await log.addEvent('message', message, round, 'warn');
    log.reportProgress('evaluating', 0, 0, message);
  }
}

export async function logImportance(log: RoundLog, weighted: WeightedPairs, cap: number): Promise<void> {
  const { negatives, known, capped, effectiveSampleSize: effective } = weighted;
  await log.addEvent(
    'message',
    `importance weights: ${known} negatives have an effective sample size of ${effective.toFixed(1)}, ${capped} capped at ${cap}, ${negatives - known} unknown with weight 1`,
    { negatives, known, capped, effective },
  );
}
