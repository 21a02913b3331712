import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../../../shared/random.ts';
import { judgeTruth, marginGain, measurePassRates } from './gate-power.ts';
import type { HeldOutOutcome, OnlineRound } from './loop.ts';

const outcome = (chosen: number, rejected: number): HeldOutOutcome => ({
  prompt: 0,
  lengths: [4, 2],
  parent: { loss: 0.7, chosenLogp: -10, rejectedLogp: -6 },
  candidate: { loss: 0.7, chosenLogp: -10 + chosen, rejectedLogp: -6 + rejected },
});

/** A round whose held-out margins are normal with this mean and standard deviation 1. */
function makeRound(mean: number, seed: number): OnlineRound {
  const random = mulberry32(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const heldOut = Array.from({ length: 400 }, () => outcome(mean + normal(), 0));
  return {
    utilities: [],
    winRate: 0.5,
    kl: 0,
    meanLength: 0,
    pairs: 0,
    steps: 0,
    seconds: 0,
    chosenChange: 0,
    rejectedChange: 0,
    earlierMargins: [],
    heldOut,
  };
}

test('the margin gain is what the chosen side gained more than the rejected one, of the response or of a token', () => {
  assert.equal(marginGain(outcome(2, -1), 'sum'), 3);
  assert.equal(marginGain(outcome(2, -1), 'mean'), 1);
});

test('a candidate without a gain passes rarely, and one with a gain more often the more pairs are held out', () => {
  const rateOf = (mean: number, pairs: number, statistic: string) => {
    const rounds = Array.from({ length: 40 }, (_, seed) => makeRound(mean, seed));
    return measurePassRates(rounds, [pairs], undefined, 20).find((rate) => rate.statistic === statistic)!.rate;
  };
  for (const statistic of ['margin, sum', 'accuracy, sum', 'bounded margin, sum']) {
    assert.ok(rateOf(0, 60, statistic) < 0.08, statistic);
    // z = 0.3·√60 = 2.3 and 0.3·√200 = 4.2
    const [few, many] = [rateOf(0.3, 60, statistic), rateOf(0.3, 200, statistic)];
    assert.ok(few > 0.3 && few < 0.95, `${statistic}: ${few}`);
    assert.ok(many > 0.9, `${statistic}: ${many}`);
  }
});

test('a candidate is better or worse only if its utilities differ significantly from its parent’s', () => {
  const parent = Array.from({ length: 50 }, (_, i) => i % 7);
  assert.equal(
    judgeTruth(
      parent,
      parent.map((value, i) => value + (i % 2)),
    ),
    'better',
  );
  assert.equal(
    judgeTruth(
      parent,
      parent.map((value, i) => value - (i % 2)),
    ),
    'worse',
  );
  assert.equal(
    judgeTruth(
      parent,
      parent.map((value, i) => value + (i % 2 ? 1 : -1)),
    ),
    'unclear',
  );
  assert.equal(judgeTruth(parent, parent), 'unclear');
});
