// The objectives of Direct Imitation Learning, as functions of log-ratios f = log π_θ(y|x) − log π_ref(y|x): each is
// ∂-Bregman density-ratio estimation, −∂h(r_w) + ∂h(r_l)·r_l − h(r_l) with r = eᶠ. To add one, add a line to the table.
// Nothing here clamps after exponentiating: that makes 0·∞ in the gradient. The exponential itself is capped.
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { AttuneError } from '../shared/error.ts';

const objectiveSettings = z.object({
  objective: z.enum(['lsif', 'ukl', 'bce', 'dpo', 'sft']).default('lsif'),
  /** How per-token log-ratios become one of a response. `sum` is the density ratio of whole responses. */
  reduction: z.enum(['mean', 'sum']).default('mean'),
  /** Whose responses stand for samples of the reference; `both` is exact where it sampled both. */
  negatives: z.enum(['rejected', 'both']).default('rejected'),
  /** Inverse temperature of dpo; the others have none. */
  beta: z.number().positive().default(0.1),
  /** Where the exponential goes on as a straight line; e^5 times a token's usual gradient is already a lot. */
  cap: z.number().positive().default(5),
});

export type ObjectiveSettings = z.output<typeof objectiveSettings>;
export type ObjectiveRequest = z.input<typeof objectiveSettings>;

/** Log-ratios [P] of both responses of each pair, and the reduced log-probabilities [P] of the chosen ones. */
export type PairRatios = { chosen: tf.Tensor1D; rejected: tf.Tensor1D; chosenLogps: tf.Tensor1D };

type Terms = {
  chosen: tf.Tensor1D;
  negative: tf.Tensor1D;
  chosenLogps: tf.Tensor1D;
  beta: number;
  exp: (u: tf.Tensor1D) => tf.Tensor1D;
};

const objectives: Record<ObjectiveSettings['objective'], (terms: Terms) => tf.Tensor1D> = {
  // h(r) = (r − 1)²/2
  lsif: ({ chosen, negative, exp }) => tf.sub(tf.mul(0.5, exp(tf.mul(2, negative))), exp(chosen)),
  // h(r) = r log r − r
  ukl: ({ chosen, negative, exp }) => tf.sub(exp(negative), chosen),
  // h(r) = r log r − (r + 1) log(r + 1)
  bce: ({ chosen, negative }) => tf.add(tf.softplus(tf.neg(chosen)), tf.softplus(negative)),
  // No density ratio of its own, but the contrast of two: −log σ(β(f_w − f_l))
  dpo: ({ chosen, negative, beta }) => tf.softplus(tf.mul(-beta, tf.sub(chosen, negative))),
  // Behaviour cloning
  sft: ({ chosenLogps }) => tf.neg(chosenLogps),
};

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
  const against = (negative: tf.Tensor1D) =>
    objectives[settings.objective]({ chosen, negative, chosenLogps, beta: settings.beta, exp });
  if (settings.negatives === 'rejected') return against(rejected);
  // The chosen response's own term is in both halves, so their mean only mixes the negatives.
  return tf.mul(0.5, tf.add(against(rejected), against(chosen)));
}
