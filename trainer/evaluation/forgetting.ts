// Whether a round unlearned what earlier ones taught: the held-out pairs of each earlier round, under the policy that it
// replaces and under the one that it trained.
import type { EarlierRound } from '../../shared/database/round-types.ts';
import { estimateMean } from '../../shared/statistics/confidence-interval.ts';
import type { PairOutcome } from '../engine/engine.ts';
import type { Evaluation } from './evaluation.ts';

/**
 * Both evaluations are on the same held-out pairs, by the same objective and reference. `learnedIn`: for each pair, the
 * earlier round that learned it, or null. From the oldest round to the newest.
 */
export function compareByRound(
  before: Evaluation,
  after: Evaluation,
  learnedIn: readonly (string | null)[],
  seed = 0,
): EarlierRound[] {
  const rounds = [...new Set(learnedIn)].filter((round) => round !== null).sort();
  return rounds.map((round) => {
    const indices = learnedIn.flatMap((other, at) => (other === round ? [at] : []));
    const outcomes = {
      before: indices.map((at) => before.outcomes[at]!),
      after: indices.map((at) => after.outcomes[at]!),
    };
    const prompts = indices.map((at) => after.prompts[at]!);
    // The reference cancels: this is the margin relative to the policy before.
    const changes = outcomes.after.map((outcome, at) => margin(outcome) - margin(outcomes.before[at]!));
    const change = estimateMean(changes, prompts, seed);
    return {
      round,
      pairs: indices.length,
      prompts: new Set(prompts).size,
      before: summarize(outcomes.before),
      after: summarize(outcomes.after),
      margin_change: change,
      forgotten: change.interval !== null && change.interval.high < 0,
    };
  });
}

function margin({ chosenLogRatio, rejectedLogRatio }: PairOutcome): number {
  return chosenLogRatio - rejectedLogRatio;
}

function summarize(outcomes: PairOutcome[]): EarlierRound['before'] {
  const mean = (value: (outcome: PairOutcome) => number) =>
    outcomes.reduce((sum, outcome) => sum + value(outcome), 0) / outcomes.length;
  return {
    'rewards/margins': mean(margin),
    // A tie counts half: under the reference itself every margin is 0.
    'rewards/accuracies': mean((outcome) => (Math.sign(margin(outcome)) + 1) / 2),
    'logps/chosen': mean(({ chosenLogp }) => chosenLogp),
  };
}
