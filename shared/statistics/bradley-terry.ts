// The Bradley-Terry model by maximum likelihood: the log-odds that one player is preferred to another is the difference of
// their strengths, plus what the differences of their covariates contribute. A tie is half a win of each. Newton's method.

import { CholeskyDecomposition, Matrix } from 'ml-matrix';
import type { Duels } from './duels.ts';

export type Fit = {
  /** strengths of the players, then coefficients of the covariates; log-odds */
  parameters: Float64Array;
  /** those that were not fixed at 0 */
  free: Int32Array;
  /** the observed information of the free ones */
  information: Matrix;
};

const MAX_STEPS = 60;
/** The next step would change less than the last digit. */
const CONVERGED = 1e-9;
const MAX_HALVINGS = 30;

/**
 * Null if the likelihood has no maximum, or more than one. Strengths of `anchors` are 0: one player of each group that wins
 * connect (win-groups.ts), with no duels between groups. `start`: the parameters of a similar fit.
 */
export function fitBradleyTerry(duels: Duels, anchors: readonly number[], start?: Float64Array): Fit | null {
  const size = duels.players + duels.featureCount;
  const free = Int32Array.from([...Array(size).keys()].filter((parameter) => !anchors.includes(parameter)));
  let parameters = start ? Float64Array.from(start) : new Float64Array(size);
  let { likelihood, gradient, information } = differentiate(duels, parameters, free);
  for (let step = 0; step < MAX_STEPS; step++) {
    if (free.length === 0) return { parameters, free, information };
    const cholesky = new CholeskyDecomposition(information);
    if (!cholesky.isPositiveDefinite()) return null;
    const change = cholesky.solve(gradient).to1DArray();
    let next: ReturnType<typeof differentiate> | undefined;
    for (let halving = 0; halving <= MAX_HALVINGS; halving++) {
      const moved = Float64Array.from(parameters);
      for (const [at, parameter] of free.entries()) moved[parameter]! += change[at]! / 2 ** halving;
      next = differentiate(duels, moved, free);
      if (next.likelihood >= likelihood - 1e-12 * Math.abs(likelihood)) {
        parameters = moved;
        break;
      }
      next = undefined;
    }
    if (!next) return null;
    ({ likelihood, gradient, information } = next);
    if (Math.max(...change.map(Math.abs)) < CONVERGED) return { parameters, free, information };
  }
  return null;
}

/** The logarithm of the odds that the first of a row is preferred. */
export function toLogOdds(duels: Duels, parameters: Float64Array, row: number): number {
  const { players, first, second, features, featureCount } = duels;
  let odds = parameters[first[row]!]! - parameters[second[row]!]!;
  for (let at = 0; at < featureCount; at++) odds += parameters[players + at]! * features[row * featureCount + at]!;
  return odds;
}

export const toShare = (logOdds: number): number => 1 / (1 + Math.exp(-logOdds));

/** log(1 + exp(x)) */
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

function differentiate(duels: Duels, parameters: Float64Array, free: Int32Array) {
  const { players, first, second, outcome, weight, features, featureCount } = duels;
  const size = parameters.length;
  const gradient = new Float64Array(size);
  const information = new Float64Array(size * size);
  let likelihood = 0;
  const touched = new Int32Array(2 + featureCount);
  const values = new Float64Array(2 + featureCount);
  for (let at = 0; at < featureCount; at++) touched[2 + at] = players + at;
  for (let row = 0; row < first.length; row++) {
    touched[0] = first[row]!;
    touched[1] = second[row]!;
    values[0] = 1;
    values[1] = -1;
    for (let at = 0; at < featureCount; at++) values[2 + at] = features[row * featureCount + at]!;
    const odds = toLogOdds(duels, parameters, row);
    const share = toShare(odds);
    likelihood += weight[row]! * (outcome[row]! * odds - softplus(odds));
    const surprise = weight[row]! * (outcome[row]! - share);
    const curvature = weight[row]! * share * (1 - share);
    for (let one = 0; one < touched.length; one++) {
      gradient[touched[one]!]! += surprise * values[one]!;
      for (let other = 0; other < touched.length; other++)
        information[touched[one]! * size + touched[other]!]! += curvature * (values[one]! * values[other]!);
    }
  }
  return {
    likelihood,
    gradient: Matrix.columnVector(Array.from(free, (parameter) => gradient[parameter]!)),
    information: new Matrix(Array.from(free, (row) => Array.from(free, (column) => information[row * size + column]!))),
  };
}
