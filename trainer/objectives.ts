// The objectives of Direct Imitation Learning, as functions of f = β (log π_θ(y|x) − log π_ref(y|x)): each is Bregman
// density-ratio estimation, in the simplified form that its h takes in f (trainer/divergence.ts). Its minimum is
// e^f = π_chosen/π_ref, so π_θ ∝ π_ref (π_chosen/π_ref)^(1/β): the paper's policy at β = 1, and otherwise the optimum of the
// reward log π_chosen/π_ref with the KL penalty β, as in dpo. To add one, add a line to the table and its name to OBJECTIVES
// (shared/hyperparameters.ts).
// Clamping after the exponential would give 0·∞ in the gradient, so the exponential itself is capped.
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { AttuneError } from '../shared/error.ts';
import { defaultBeta, type Hyperparameters, hyperparametersSchema } from '../shared/hyperparameters.ts';
import { bregmanTerms, getDivergence } from './divergence.ts';

const objectiveSettings = hyperparametersSchema
  .pick({ objective: true, reduction: true, negatives: true, beta: true, weighting: true })
  .extend({
    /** The exponential continues as its tangent above this argument; e⁵ times a token's usual gradient is large already. */
    cap: z.number().positive().default(5),
  });

export type ObjectiveSettings = z.output<typeof objectiveSettings> & { beta: number };
export type ObjectiveInput = z.input<typeof objectiveSettings>;

/**
 * Log-ratios [P] of both responses of each pair, the reduced log-probabilities [P] of the chosen ones, and the
 * importance weights [P] of both as samples of the reference.
 */
export type PairRatios = {
  chosen: tf.Tensor1D;
  rejected: tf.Tensor1D;
  chosenLogps: tf.Tensor1D;
  chosenImportance: tf.Tensor1D;
  rejectedImportance: tf.Tensor1D;
  /** r(x, chosen) − r(x, rejected) [P], for distill. */
  rewardMargins?: tf.Tensor1D;
};

type Terms = {
  /** f of the chosen response and of the negative one. */
  chosen: tf.Tensor1D;
  negative: tf.Tensor1D;
  /** Weights the term that is an expectation under the reference. */
  importance: tf.Tensor1D;
  chosenLogps: tf.Tensor1D;
  rewardMargins: tf.Tensor1D | undefined;
  beta: number;
  exp: (u: tf.Tensor1D) => tf.Tensor1D;
};

const objectives: Record<string, (terms: Terms) => tf.Tensor1D> = {
  // h(r) = (r − 1)²/2, less the constant ½
  lsif: ({ chosen, negative, importance, exp }) =>
    tf.sub(tf.mul(importance, tf.mul(0.5, exp(tf.mul(2, negative)))), exp(chosen)),
  // h(r) = r log r − r
  ukl: ({ chosen, negative, importance, exp }) => tf.sub(tf.mul(importance, exp(negative)), chosen),
  // h(r) = r log r − (r + 1) log(r + 1)
  bce: ({ chosen, negative, importance }) =>
    tf.add(tf.softplus(tf.neg(chosen)), tf.mul(importance, tf.softplus(negative))),
  // Not a density-ratio estimator: a contrast of two log-ratios, −log σ(f_w − f_l)
  dpo: ({ chosen, negative }) => tf.softplus(tf.sub(negative, chosen)),
  // Behaviour cloning
  sft: ({ chosenLogps }) => tf.neg(chosenLogps),
  // Reverse-KL distillation of a reward (Eq. 13, 14) on two samples y, z of the policy: ¼ (c(y) − c(z))² with
  // c = (f − r)/β, which is log π_θ/π* up to a constant for π* ∝ π_ref e^(r/β). Its expectation, half the variance of c, is 0
  // for π* only; on samples of π_θ its gradient is that of KL(π_θ ‖ π*), with the other sample as the baseline (VarGrad,
  // arXiv 2010.10436; RLOO, arXiv 2402.14740).
  distill: ({ chosen, negative, rewardMargins, beta }) => {
    if (!rewardMargins) throw new Error('internal: distill: the pairs have no reward margins');
    return tf.mul(0.25, tf.square(tf.div(tf.sub(tf.sub(chosen, negative), rewardMargins), beta)));
  },
};

/** Smallest f that a custom h receives: it may contain a logarithm, and e^-100 is 0 in float32. */
const MIN_LOG_RATIO = -30;

/** max(f, MIN_LOG_RATIO) with slope 1 everywhere, so that a chosen response below it is still pushed up. */
const clampBelow = tf.customGrad((f) => ({
  value: tf.maximum(f as tf.Tensor1D, MIN_LOG_RATIO),
  gradFunc: (dy) => dy,
})) as (f: tf.Tensor1D) => tf.Tensor1D;

function customObjective(file: string): (terms: Terms) => tf.Tensor1D {
  const divergence = getDivergence(file);
  return ({ chosen, negative, importance, exp }) => {
    const ratio = (f: tf.Tensor1D) => exp(clampBelow(f));
    const terms = bregmanTerms(divergence, ratio(chosen), ratio(negative));
    return tf.add(terms.chosen, tf.mul(importance, terms.negative));
  };
}

/** Completes the settings with the defaults. Throws AttuneError for an invalid value or combination. */
export function parseObjective(request: ObjectiveInput): ObjectiveSettings {
  const parsed = objectiveSettings.safeParse(request);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new AttuneError(`objective: ${issue.path.join('.')}: ${issue.message}`, {
      param: issue.path.join('.') || null,
      code: 'invalid_objective',
    });
  }
  if (parsed.data.objective === 'dpo' && parsed.data.negatives === 'both')
    throw new AttuneError(
      'objective: dpo contrasts the two responses of a pair and cannot use negatives: both; use negatives: rejected',
      {
        param: 'negatives',
        code: 'invalid_objective',
      },
    );
  const { objective, weighting, reduction, negatives } = parsed.data;
  if (objective === 'distill' && (reduction !== 'sum' || negatives !== 'rejected'))
    throw new AttuneError(
      'objective: distill compares whole responses, two samples at a time; use reduction: sum and negatives: rejected',
      { param: reduction === 'sum' ? 'negatives' : 'reduction', code: 'invalid_objective' },
    );
  if (weighting === 'importance' && ['dpo', 'sft', 'distill'].includes(objective))
    throw new AttuneError(
      `objective: ${objective} takes no expectation under the reference, so there is nothing to weight; use weighting: none`,
      { param: 'weighting', code: 'invalid_objective' },
    );
  return { ...parsed.data, beta: parsed.data.beta ?? defaultBeta(parsed.data) };
}

/**
 * The objective of a reward, which takes the place of f. bradley_terry is −log σ(r_w − r_l) (Eq. 3), dpo with
 * β = 1; density_ratio is lsif (Eq. 21), whose minimum is r = log π_chosen/π_ref.
 */
export function parseRewardObjective({ reward_loss, negatives }: RewardLossSettings): ObjectiveSettings {
  return reward_loss === 'bradley_terry'
    ? parseObjective({ objective: 'dpo', beta: 1, reduction: 'sum', negatives: 'rejected', weighting: 'none' })
    : parseObjective({ objective: 'lsif', beta: 1, reduction: 'sum', negatives, weighting: 'none' });
}

export type RewardLossSettings = Pick<Hyperparameters, 'reward_loss' | 'negatives'>;

/** Ratios [P] → the loss of each pair, [P]. */
export function pairLosses(settings: ObjectiveSettings, ratios: PairRatios): tf.Tensor1D {
  return lossesWith(settings, ratios, (u) => cappedExp(u, settings.cap));
}

/** Ratios [P] → for each pair [P], the share of the objective's exponentials whose argument is above the cap. */
export function cappedShares(settings: ObjectiveSettings, ratios: PairRatios): tf.Tensor1D {
  const capped: tf.Tensor1D[] = [];
  lossesWith(settings, ratios, (u) => {
    capped.push(tf.cast(tf.greater(u, settings.cap), 'float32'));
    return u;
  });
  if (capped.length === 0) return tf.zerosLike(ratios.chosen);
  return tf.div(
    capped.reduce((sum, next) => tf.add(sum, next)),
    capped.length,
  );
}

/** exp(u) up to c and its tangent above: finite for any finite u, with a continuous slope. */
export function cappedExp(u: tf.Tensor1D, c: number): tf.Tensor1D {
  return tf.mul(tf.exp(tf.minimum(u, c)), tf.add(1, tf.relu(tf.sub(u, c))));
}

function lossesWith(settings: ObjectiveSettings, ratios: PairRatios, exp: Terms['exp']): tf.Tensor1D {
  const { chosenLogps, rewardMargins } = ratios;
  const scale = (logRatios: tf.Tensor1D): tf.Tensor1D => tf.mul(settings.beta, logRatios);
  const [chosen, rejected] = [scale(ratios.chosen), scale(ratios.rejected)];
  const loss = objectives[settings.objective] ?? customObjective(settings.objective);
  const lossAgainst = (negative: tf.Tensor1D, importance: tf.Tensor1D) =>
    loss({ chosen, negative, importance, chosenLogps, rewardMargins, beta: settings.beta, exp });
  const fromRejected = lossAgainst(rejected, ratios.rejectedImportance);
  if (settings.negatives === 'rejected') return fromRejected;
  // The chosen response's term is in both, so their mean only averages over the negatives.
  return tf.mul(0.5, tf.add(fromRejected, lossAgainst(chosen, ratios.chosenImportance)));
}
