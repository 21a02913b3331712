// Numerical check of the equivalences of Direct Imitation Learning (arXiv 2503.05079) on the toy problem: both sides are
// computed independently and compared. Losses of this project come from trainer/objectives.ts.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { seedRandom } from '../../shared/decoder/random.ts';
import { type ObjectiveInput, pairLosses, parseObjective } from '../../trainer/objectives.ts';
import { divergenceFrom, expectation, logPartition, softmax, tilt } from './tabular-policy.ts';
import {
  CHOSEN_DISTRIBUTION,
  type ClosedForm,
  compareClosedForms,
  LOG_REFERENCE,
  minimize,
  minimizeOverPolicies,
  minimizeOverRatios,
  REFERENCE,
} from './toy-problem.ts';

export type Equivalence = {
  /** Their numbers in the paper. */
  equations: string;
  claim: string;
  left: string;
  right: string;
  /** Comparisons with the largest absolute difference in each. */
  checks: { what: string; difference: number }[];
};

/** All results on the toy problem, computed on tfjs's cpu backend in this thread. */
export async function computeToyResults(): Promise<{ forms: ClosedForm[]; equivalences: Equivalence[] }> {
  // Suppresses tfjs's advertisement of its native library.
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
  return { forms: compareClosedForms(), equivalences: computeEquivalences() };
}

export function computeEquivalences(): Equivalence[] {
  return [compareEnergyLoss(), compareDistillation(), compareStages(), compareContrastive()];
}

/** −log of an energy-based policy with its partition function estimated on the pair, against −log σ(r_w − r_l). */
function compareEnergyLoss(): Equivalence {
  const random = seedRandom(1, 0);
  const rewards = Array.from({ length: 200 }, () => 12 * random() - 6);
  const [chosen, rejected] = [tf.tensor1d(rewards.slice(0, 100)), tf.tensor1d(rewards.slice(100))];
  // −log [e^{r_w} / ½(e^{r_w} + e^{r_l})]
  const energy = (w: tf.Tensor, l: tf.Tensor): tf.Tensor1D =>
    tf.sub(tf.logSumExp(tf.stack([w, l]), 0), tf.add(w, Math.LN2)) as tf.Tensor1D;
  const bradleyTerry = (w: tf.Tensor, l: tf.Tensor) => dpoLosses(w, l, 1);

  // With the exact partition function Σ_y π_ref e^r instead of the estimate.
  const exact = minimize((r) => tf.sub(logPartition(r), tf.sum(tf.mul(tf.tensor1d(CHOSEN_DISTRIBUTION), r))), 1);
  const learned = fitPairReward();
  return {
    equations: '3 and 12',
    claim: 'Energy-based imitation of the chosen responses is the Bradley-Terry reward loss.',
    left: '−log π_φ(y_w)/π_ref(y_w) for π_φ = π_ref e^r / Z, with Z = E_ref[e^r] estimated on the pair: −r_w + log ½(e^{r_w} + e^{r_l})',
    right: '−log σ(r_w − r_l), minus the constant log 2',
    checks: [
      {
        what: 'loss, 100 random pairs of rewards in ±6',
        difference: maxDifference(
          energy(chosen, rejected).dataSync(),
          tf.sub(bradleyTerry(chosen, rejected), Math.LN2).dataSync(),
        ),
      },
      { what: 'gradient by both rewards', difference: maxGradientDifference(energy, bradleyTerry, chosen, rejected) },
      {
        what: 'policies π_ref e^r / Z at the minima, with exact Z on the left and all nine pairs on the right',
        difference: maxDifference(tilt(exact), tilt(learned)),
      },
    ],
  };
}

/** E_π[r] − KL(π ‖ π_ref) against log Z − KL(π ‖ π_φ), with the reward fitted to the pairs. */
function compareDistillation(): Equivalence {
  const reward = fitPairReward();
  const target = tilt(reward);
  const logZ = Math.log(REFERENCE.reduce((sum, p, i) => sum + p * Math.exp(reward[i]!), 0));
  const r = tf.tensor1d(reward);
  const regularized = (theta: tf.Tensor) =>
    tf.sub(expectation(theta, r), divergenceFrom(theta, REFERENCE)) as tf.Scalar;
  const distilled = (theta: tf.Tensor) => tf.sub(logZ, divergenceFrom(theta, target)) as tf.Scalar;

  const random = seedRandom(2, 0);
  const policies = Array.from({ length: 100 }, () => tf.tensor1d([0, 1, 2].map(() => 6 * random() - 3)));
  const each = (of: (theta: tf.Tensor) => tf.Tensor) => policies.flatMap((theta) => [...of(theta).dataSync()]);
  const maximize = (score: (theta: tf.Tensor) => tf.Scalar) =>
    softmax(minimize((theta) => tf.neg(score(theta)), 1, LOG_REFERENCE));
  return {
    equations: '13 to 15',
    claim: 'KL-regularised RL on that reward is the reverse-KL distillation of the energy-based policy.',
    left: 'E_π[r] − KL(π ‖ π_ref)',
    right: 'log Z − KL(π ‖ π_φ), π_φ = π_ref e^r / Z',
    checks: [
      { what: 'value, 100 random policies', difference: maxDifference(each(regularized), each(distilled)) },
      {
        what: 'gradient by the logits of these policies',
        difference: maxDifference(each(tf.grad(regularized)), each(tf.grad(distilled))),
      },
      { what: 'policies at the maxima', difference: maxDifference(maximize(regularized), maximize(distilled)) },
      { what: 'left maximum against π_φ', difference: maxDifference(maximize(regularized), target) },
    ],
  };
}

/** Two stages (fit a density ratio, then distil it into a policy) against one (substitute π/π_ref for the ratio). */
function compareStages(): Equivalence {
  const checks = (['lsif', 'ukl', 'bce'] as const).flatMap((objective) => {
    const request = { objective };
    const ratio = tf.tensor1d(minimizeOverRatios(request, 0.8).f);
    const twoStage = softmax(
      minimize((theta) => tf.sub(divergenceFrom(theta, REFERENCE), expectation(theta, ratio)), 1, LOG_REFERENCE),
    );
    const oneStage = minimizeOverPolicies(request, 0.8).f.map((f, i) => REFERENCE[i]! * Math.exp(f));
    return [
      { what: `${objective}: two-stage against one-stage policy`, difference: maxDifference(twoStage, oneStage) },
      {
        what: `${objective}: one-stage policy against the chosen distribution`,
        difference: maxDifference(oneStage, CHOSEN_DISTRIBUTION),
      },
    ];
  });
  return {
    equations: '17, and 22 to 24',
    claim: 'Fitting a density ratio and then distilling it into a policy has the same optimum as one stage.',
    left: 'r̂ minimizes the Bregman loss over unconstrained ratios; then π maximizes E_π[log r̂] − KL(π ‖ π_ref)',
    right: 'π minimizes the same Bregman loss with r = π/π_ref',
    checks,
  };
}

/** Contrastive predictive coding (classify the chosen response of two by the scores e^{βf}) against DPO. */
function compareContrastive(): Equivalence {
  const values = [-8, -3, -1, -0.2, 0, 0.2, 1, 3, 8];
  const grid = values.flatMap((w) => values.map((l) => [w, l] as const));
  const [chosen, rejected] = [tf.tensor1d(grid.map(([w]) => w)), tf.tensor1d(grid.map(([, l]) => l))];
  const checks = [1, 0.5, 0.1].flatMap((beta) => {
    const contrast = (w: tf.Tensor, l: tf.Tensor): tf.Tensor1D => {
      const scores: tf.Tensor2D = tf.mul(beta, tf.stack([w, l], 1)); // [81, 2]
      return tf.neg(tf.squeeze(tf.slice(tf.logSoftmax(scores), [0, 0], [-1, 1]), [1]));
    };
    const dpo = (w: tf.Tensor, l: tf.Tensor) => dpoLosses(w, l, beta);
    return [
      {
        what: `β ${beta}: loss, 81 pairs of log-ratios in ±8`,
        difference: maxDifference(contrast(chosen, rejected).dataSync(), dpo(chosen, rejected).dataSync()),
      },
      { what: `β ${beta}: gradient`, difference: maxGradientDifference(contrast, dpo, chosen, rejected) },
    ];
  });
  return {
    equations: '25 to 27',
    claim: 'DPO is Direct Imitation Learning with contrastive predictive coding as the density-ratio estimator.',
    left: '−log e^{βf_w} / (e^{βf_w} + e^{βf_l}): the cross-entropy of classifying the chosen response against a sample of the reference',
    right: '−log σ(β(f_w − f_l)), `dpo` of objectives.ts',
    checks,
  };
}

/** The reward that minimizes −log σ(r_w − r_l) over all pairs: dpo with rewards in place of log-ratios. */
function fitPairReward(): number[] {
  return minimizeOverRatios({ objective: 'dpo', beta: 1 }, 2).f;
}

function dpoLosses(chosen: tf.Tensor, rejected: tf.Tensor, beta: number): tf.Tensor1D {
  const request: ObjectiveInput = { objective: 'dpo', beta };
  const ones: tf.Tensor1D = tf.onesLike(chosen as tf.Tensor1D);
  return pairLosses(parseObjective({ beta: 1, ...request }), {
    chosen: chosen as tf.Tensor1D,
    rejected: rejected as tf.Tensor1D,
    chosenLogps: chosen as tf.Tensor1D,
    chosenImportance: ones,
    rejectedImportance: ones,
  });
}

type Loss = (w: tf.Tensor, l: tf.Tensor) => tf.Tensor1D;

function maxGradientDifference(one: Loss, other: Loss, chosen: tf.Tensor1D, rejected: tf.Tensor1D): number {
  const gradients = (loss: Loss) =>
    tf
      .grads(loss)([chosen, rejected])
      .flatMap((gradient) => [...gradient.dataSync()]);
  return maxDifference(gradients(one), gradients(other));
}

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
}
