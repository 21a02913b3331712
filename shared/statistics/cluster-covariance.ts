// How uncertain fitted strengths are when votes are not independent of each other: those of one rater share a taste, those on
// one prompt its difficulty. The sandwich estimator with the sums of scores over clusters, in one or in two ways: rater +
// prompt − their intersection (Cameron, Gelbach and Miller, 2011).

import { EigenvalueDecomposition, inverse, Matrix } from 'ml-matrix';
import { type Fit, toLogOdds, toShare } from './bradley-terry.ts';
import type { Duels } from './duels.ts';

/** The cluster of each row, from 0. */
export type Clusters = { indices: Int32Array; count: number };

/**
 * The covariance of the parameters, 0 for fixed ones: [parameters, parameters]. A few clusters are drawn apart too little
 * by their own mean, which `isCorrected` makes up for by count / (count − 1).
 */
export function covarianceByClusters(
  duels: Duels,
  fit: Fit,
  clusters: readonly [Clusters] | readonly [Clusters, Clusters],
  isCorrected = true,
): Matrix {
  const sum = (of: Clusters) => {
    const scores = sumScores(duels, fit, of);
    return isCorrected ? scores.mul(of.count / Math.max(1, of.count - 1)) : scores;
  };
  const [one, other] = clusters;
  let meat = sum(one);
  if (other) meat = clampPositive(meat.add(sum(other)).sub(sum(intersect(one, other))));
  const bread = inverse(fit.information);
  const covariance = bread.mmul(meat).mmul(bread);
  const size = fit.parameters.length;
  const padded = Matrix.zeros(size, size);
  for (const [row, parameter] of fit.free.entries())
    for (const [column, other] of fit.free.entries()) padded.set(parameter, other, covariance.get(row, column));
  return padded;
}

/** Of β[one] − β[other]. */
export function varianceOfDifference(covariance: Matrix, one: number, other: number): number {
  return Math.max(0, covariance.get(one, one) + covariance.get(other, other) - 2 * covariance.get(one, other));
}

/** Σ over clusters of s·sᵀ, s being the sum of its rows' scores; of the free parameters. */
function sumScores(duels: Duels, { parameters, free }: Fit, clusters: Clusters): Matrix {
  const { players, first, second, outcome, weight, features, featureCount } = duels;
  const position = new Int32Array(parameters.length).fill(-1);
  for (const [at, parameter] of free.entries()) position[parameter] = at;
  const total = new Float64Array(free.length ** 2);
  const score = new Float64Array(free.length);
  const touched = new Set<number>();
  const add = (parameter: number, value: number) => {
    const at = position[parameter]!;
    if (at < 0) return;
    score[at]! += value;
    touched.add(at);
  };
  for (const rows of listRows(clusters)) {
    for (const row of rows) {
      const surprise = weight[row]! * (outcome[row]! - toShare(toLogOdds(duels, parameters, row)));
      add(first[row]!, surprise);
      add(second[row]!, -surprise);
      for (let at = 0; at < featureCount; at++) add(players + at, surprise * features[row * featureCount + at]!);
    }
    for (const one of touched)
      for (const other of touched) total[one * free.length + other]! += score[one]! * score[other]!;
    for (const at of touched) score[at] = 0;
    touched.clear();
  }
  return Matrix.from1DArray(free.length, free.length, total);
}

function* listRows({ indices, count }: Clusters): Generator<Int32Array> {
  const ends = new Int32Array(count);
  for (const cluster of indices) ends[cluster]!++;
  for (let cluster = 1; cluster < count; cluster++) ends[cluster]! += ends[cluster - 1]!;
  const order = new Int32Array(indices.length);
  const next = Int32Array.from(ends);
  for (let row = indices.length - 1; row >= 0; row--) order[--next[indices[row]!]!] = row;
  for (let cluster = 0; cluster < count; cluster++) yield order.subarray(next[cluster]!, ends[cluster]!);
}

/** Numbers anything from 0, in the order in which it is first met. */
export function numberClusters<T>(of: Iterable<T>): Clusters {
  const numbers = new Map<T, number>();
  const indices: number[] = [];
  for (const key of of) {
    const known = numbers.get(key) ?? numbers.size;
    numbers.set(key, known);
    indices.push(known);
  }
  return { indices: Int32Array.from(indices), count: numbers.size };
}

function intersect(one: Clusters, other: Clusters): Clusters {
  return numberClusters(Array.from(one.indices, (cluster, row) => cluster * other.count + other.indices[row]!));
}

/** With few clusters the difference of two-way clustering can have negative variances, which become 0. */
function clampPositive(matrix: Matrix): Matrix {
  if (matrix.rows === 0) return matrix;
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(matrix, { assumeSymmetric: true });
  if (realEigenvalues.every((value) => value >= 0)) return matrix;
  const clamped = Matrix.diag(realEigenvalues.map((value) => Math.max(0, value)));
  return eigenvectorMatrix.mmul(clamped).mmul(eigenvectorMatrix.transpose());
}
