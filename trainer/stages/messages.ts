// The wording of what a round reports about its pairs.
import type { EarlierRound, PairCounts } from '../../shared/database/round-types.ts';
import type { WeightedPairs } from './importance.ts';
import type { RoundLog } from './log.ts';

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

export function describeLeftOut({ over_limit, stale, identical, empty, ...quality }: PairCounts['left_out']): string {
  return (
    `${stale} sampled too long ago, ${identical} with two equal responses, ${empty} with an empty response, ${over_limit} beyond TRAIN_MAX_PAIRS, ` +
    `${quality.near_identical} by MAX_SIMILARITY, ${quality.contradictory} by CONTRADICTIONS, ${quality.low_agreement} by MIN_AGREEMENT`
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
