import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Matrix } from 'ml-matrix';
import recorded from '../../testing/statistics.json' with { type: 'json' };
import { fitBradleyTerry } from './bradley-terry.ts';
import { covarianceByClusters, numberClusters } from './cluster-covariance.ts';
import { aggregateDuels, type Duels } from './duels.ts';

/** first, second, outcome, rater, prompt, two covariates */
type Vote = [number, number, number, number, number, number, number];

function toDuels(votes: readonly Vote[], featureCount: 0 | 2): Duels {
  return {
    players: 5,
    first: Int32Array.from(votes, ([first]) => first),
    second: Int32Array.from(votes, ([, second]) => second),
    outcome: Float64Array.from(votes, ([, , outcome]) => outcome),
    weight: new Float64Array(votes.length).fill(1),
    features: Float64Array.from(votes.flatMap((vote) => vote.slice(5, 5 + featureCount))),
    featureCount,
  };
}

function assertNear(actual: Iterable<number>, expected: Iterable<number>, within: number): void {
  const [one, other] = [[...actual], [...expected]];
  assert.equal(one.length, other.length);
  for (const [at, value] of one.entries())
    assert.ok(Math.abs(value - other[at]!) < within, `${at}: ${value} is not within ${within} of ${other[at]}`);
}

const fromFirst = (values: readonly number[]) => values.map((value) => value - values[0]!);

/** The variances of strengths whose mean is 0, of those whose first is 0. */
function toCenteredVariances(covariance: Matrix, players: number): number[] {
  const own = covariance.subMatrix(0, players - 1, 0, players - 1);
  const center = Matrix.eye(players).sub(Matrix.ones(players, players).div(players));
  return center.mmul(own).mmul(center).diagonal();
}

for (const ties of ['half', 'dropped'] as const) {
  const expected = recorded.ratings[ties];
  const votes = (recorded.votes as Vote[]).filter(([, , outcome]) => ties === 'half' || outcome !== 0.5);
  const each = numberClusters(votes.keys());
  const raters = numberClusters(votes.map((vote) => vote[3]));
  const prompts = numberClusters(votes.map((vote) => vote[4]));

  test(`strengths with ties ${ties} equal those of arena-rank, evalica and statsmodels`, () => {
    const duels = toDuels(votes, 0);
    const { parameters } = fitBradleyTerry(duels, [0])!;
    assertNear(parameters, fromFirst(expected.arena_rank.ratings), 1e-6);
    assertNear(parameters, fromFirst(expected.evalica), 1e-6);
    assertNear(parameters, [0, ...expected.statsmodels.parameters], 1e-9);
    const fromCounts = fitBradleyTerry(aggregateDuels(duels), [0])!;
    assertNear(fromCounts.parameters, parameters, 1e-12);
  });

  test(`strengths and coefficients with covariates and ties ${ties} equal those of arena-rank and statsmodels`, () => {
    const { parameters } = fitBradleyTerry(toDuels(votes, 2), [0])!;
    const { ratings, coeffs } = expected.arena_rank_controlled;
    assertNear(parameters, [...fromFirst(ratings), ...coeffs], 1e-6);
    assertNear(parameters, [0, ...expected.statsmodels_controlled.parameters], 1e-9);
  });

  test(`variances of single votes with ties ${ties} equal those of arena-rank`, () => {
    for (const [featureCount, { variances }] of [
      [0, expected.arena_rank],
      [2, expected.arena_rank_controlled],
    ] as const) {
      const duels = toDuels(votes, featureCount);
      const covariance = covarianceByClusters(duels, fitBradleyTerry(duels, [0])!, [each], false);
      assertNear(toCenteredVariances(covariance, 5), variances, 1e-6);
    }
  });

  test(`the covariance by rater and prompt with ties ${ties} equals that of statsmodels`, () => {
    for (const [featureCount, { covariance }] of [
      [0, expected.statsmodels],
      [2, expected.statsmodels_controlled],
    ] as const) {
      const duels = toDuels(votes, featureCount);
      const found = covarianceByClusters(duels, fitBradleyTerry(duels, [0])!, [raters, prompts], false);
      const size = 4 + featureCount;
      assertNear(found.subMatrix(1, size, 1, size).to1DArray(), covariance.flat(), 1e-9);
    }
  });
}

test('a likelihood without a maximum has no fit, and does not loop', () => {
  const always: Vote[] = [
    [0, 1, 1, 0, 0, 0, 0],
    [0, 1, 1, 0, 1, 0, 0],
  ];
  assert.equal(fitBradleyTerry({ ...toDuels(always, 0), players: 2 }, [0]), null);
  // A covariate that tells every winner.
  const told = (recorded.votes as Vote[]).map(
    ([first, second, outcome]): Vote => [first, second, outcome, 0, 0, 2 * outcome - 1, 0],
  );
  const { features, ...duels } = toDuels(told, 2);
  const one = features.filter((_, at) => at % 2 === 0);
  assert.equal(fitBradleyTerry({ ...duels, features: one, featureCount: 1 }, [0]), null);
});

test('with one player there is nothing to fit', () => {
  const { parameters } = fitBradleyTerry({ ...toDuels([], 0), players: 1 }, [0])!;
  assert.deepEqual([...parameters], [0]);
});
