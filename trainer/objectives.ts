// The objectives of Direct Imitation Learning, as functions of log-ratios f = log π_θ(y|x) − log π_ref(y|x): each is
// Bregman density-ratio estimation, in the simplified form that its h has in f (trainer/divergence.ts). To add one, add
// a line to the table, or bring an h of your own as a module.
// Nothing here clamps after exponentiating: that makes 0·∞ in the gradient. The exponential itself is capped.
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { AttuneError } from '../shared/error.ts';
import { bregmanTerms, isModule, loadedDivergence } from './divergence.ts';

const objectiveSettings = z.object({
  objective: z
    .union([z.enum(['lsif', 'ukl', 'bce', 'dpo', 'sft']), z.string().refine(isModule)], {
      error: 'give lsif, ukl, bce, dpo, sft, or the path of a module (.ts or .js) with a convex h',
    })
    .default('lsif'),
  /** How per-token log-ratios become one of a response. `sum` is the density ratio of whole responses. */
  reduction: z.enum(['mean', 'sum']).default('mean'),
  /** Whose responses stand for samples of the reference; `both` is exact where it sampled both. */
  negatives: z.enum(['rejected', 'both']).default('rejected'),
  /** Inverse temperature of dpo; the others have none. */
  beta: z.number().positive().default(0.1),
  weighting: z.enum(['none', 'importance']).default('none'),
  /** Where the exponential goes on as a straight line; e^5 times a token's usual gradient is already a lot. */
  cap: z.number().positive().default(5),
});

export type ObjectiveSettings = z.output<typeof objectiveSettings>;
export type ObjectiveRequest = z.input<typeof objectiveSettings>;

/**
 * Log-ratios [P] of both responses of each pair, the reduced log-probabilities [P] of the chosen ones, and what each
 * response counts [P] as a sample of the reference.
 */
export type PairRatios = {
  chosen: tf.Tensor1D;
  rejected: tf.Tensor1D;
  chosenLogps: tf.Tensor1D;
  chosenImportance: tf.Tensor1D;
  rejectedImportance: tf.Tensor1D;
};

type Terms = {
  chosen: tf.Tensor1D;
  negative: tf.Tensor1D;
  /** Weighs what is an expectation under the reference. */
  importance: tf.Tensor1D;
  chosenLogps: tf.Tensor1D;
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
  // No density ratio of its own, but the contrast of two: −log σ(β(f_w − f_l))
  dpo: ({ chosen, negative, beta }) => tf.softplus(tf.mul(-beta, tf.sub(chosen, negative))),
  // Behaviour cloning
  sft: ({ chosenLogps }) => tf.neg(chosenLogps),
};

/** Below this a ratio is taken for it: a user's h may have a logarithm in it, and e^-100 is 0 in float32. */
const FLOOR = -30;

/** max(f, FLOOR) whose slope is 1 everywhere: a chosen response that has sunk that far is still pulled up. */
const raise = tf.customGrad((f) => ({
  value: tf.maximum(f as tf.Tensor1D, FLOOR),
  gradFunc: (dy) => dy,
})) as (f: tf.Tensor1D) => tf.Tensor1D;

function userObjective(file: string): (terms: Terms) => tf.Tensor1D {
  const divergence = loadedDivergence(file);
  return ({ chosen, negative, importance, exp }) => {
    const ratio = (f: tf.Tensor1D) => exp(raise(f));
    const terms = bregmanTerms(divergence, ratio(chosen), ratio(negative));
    return tf.add(terms.chosen, tf.mul(importance, terms.negative));
  };
}

/** Checks what was asked for and completes it with the defaults. */
export function readObjective(request: ObjectiveRequest): ObjectiveSettings {
  const parsed = objectiveSettings.safeParse(request);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new AttuneError(`objective: ${issue.path.join('.') || 'it'}: ${issue.message}`, {
      param: issue.path.join('.') || null,
      code: 'invalid_objective',
    });
  }
  if (parsed.data.objective === 'dpo' && parsed.data.negatives === 'both')
    throw new AttuneError('objective: dpo contrasts a pair, so it has no use for negatives: both; say rejected', {
      param: 'negatives',
      code: 'invalid_objective',
    });
  const { objective, weighting } = parsed.data;
  if (weighting === 'importance' && (objective === 'dpo' || objective === 'sft'))
    throw new AttuneError(
      `objective: ${objective} takes no expectation under the reference, so there is nothing to weigh; say weighting: none`,
      { param: 'weighting', code: 'invalid_objective' },
    );
  return parsed.data;
}

/** The loss of each pair, [P]. */
export function pairLosses(settings: ObjectiveSettings, ratios: PairRatios): tf.Tensor1D {
  return lossesWith(settings, ratios, (u) => cappedExp(u, settings.cap));
}

/** The share, per pair [P], of the objective's exponentials whose argument lies above the cap. */
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

/** exp(u) up to c, and from there its tangent: continuous slope, and finite wherever u is. */
export function cappedExp(u: tf.Tensor1D, c: number): tf.Tensor1D {
  return tf.mul(tf.exp(tf.minimum(u, c)), tf.add(1, tf.relu(tf.sub(u, c))));
}

function lossesWith(settings: ObjectiveSettings, ratios: PairRatios, exp: Terms['exp']): tf.Tensor1D {
  const { chosen, rejected, chosenLogps } = ratios;
  const loss = objectives[settings.objective] ?? userObjective(settings.objective);
  const against = (negative: tf.Tensor1D, importance: tf.Tensor1D) =>
    loss({ chosen, negative, importance, chosenLogps, beta: settings.beta, exp });
  const fromRejected = against(rejected, ratios.rejectedImportance);
  if (settings.negatives === 'rejected') return fromRejected;
  // The chosen response's own term is in both halves, so their mean only mixes the negatives.
  return tf.mul(0.5, tf.add(fromRejected, against(chosen, ratios.chosenImportance)));
}
