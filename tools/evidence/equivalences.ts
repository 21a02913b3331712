// The equivalences that Direct Imitation Learning (arXiv 2503.05079) rests on, in the world of three answers: both sides
// computed apart, and how far they lie from each other at most. What is ours on a side comes from trainer/objectives.ts.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { seedRandom } from '../../shared/decoder/random.ts';
import { type ObjectiveRequest, pairLosses, readObjective } from '../../trainer/objectives.ts';
import { divergenceFrom, logPartition, mean, softmax, tilt } from './tabular.ts';
import {
  CHOSEN,
  type ClosedForm,
  closedForms,
  descend,
  findPolicy,
  findRatios,
  LOG_REFERENCE,
  REFERENCE,
} from './world.ts';

export type Equivalence = {
  /** In the paper. */
  equations: string;
  claim: string;
  left: string;
  right: string;
  /** Each comparison that was made, with the largest difference found in it. */
  checks: { what: string; difference: number }[];
};

/** Everything about the world of three answers. Computes on tfjs's cpu backend, in this thread. */
export async function showWorld(): Promise<{ forms: ClosedForm[]; equivalences: Equivalence[] }> {
  // Keeps tfjs from praising its native library, which has nothing to do here.
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
  return { forms: closedForms(), equivalences: showEquivalences() };
}

export function showEquivalences(): Equivalence[] {
  return [showEnergy(), showDistillation(), showStages(), showContrast()];
}

/** −log of an energy-based policy, its partition function estimated on the pair, against −log σ(r_w − r_l). */
function showEnergy(): Equivalence {
  const random = seedRandom(1, 0);
  const rewards = Array.from({ length: 200 }, () => 12 * random() - 6);
  const [chosen, rejected] = [tf.tensor1d(rewards.slice(0, 100)), tf.tensor1d(rewards.slice(100))];
  // −log [e^{r_w} / ½(e^{r_w} + e^{r_l})]
  const energy = (w: tf.Tensor, l: tf.Tensor): tf.Tensor1D =>
    tf.sub(tf.logSumExp(tf.stack([w, l]), 0), tf.add(w, Math.LN2)) as tf.Tensor1D;
  const bradleyTerry = (w: tf.Tensor, l: tf.Tensor) => dpoLosses(w, l, 1);

  // With the partition function as it is instead of estimated: Σ_y π_ref e^r.
  const exact = descend((r) => tf.sub(logPartition(r), tf.sum(tf.mul(tf.tensor1d(CHOSEN), r))), 1);
  const learned = rewardOfPairs();
  return {
    equations: '3 and 12',
    claim: 'Energy-based imitation of the chosen answers is the Bradley-Terry reward loss.',
    left: '−log π_φ(y_w)/π_ref(y_w) for π_φ = π_ref e^r / Z, with Z = E_ref[e^r] estimated on the pair itself: −r_w + log ½(e^{r_w} + e^{r_l})',
    right: '−log σ(r_w − r_l), and log 2 less of it: a constant',
    checks: [
      {
        what: 'loss, 100 random pairs of rewards in ±6',
        difference: gap(
          energy(chosen, rejected).dataSync(),
          tf.sub(bradleyTerry(chosen, rejected), Math.LN2).dataSync(),
        ),
      },
      { what: 'its slopes by both rewards', difference: gapOfSlopes(energy, bradleyTerry, chosen, rejected) },
      {
        what: 'the policies π_ref e^r / Z where each is least, Z exact on the left, all nine pairs on the right',
        difference: gap(tilt(exact), tilt(learned)),
      },
    ],
  };
}

/** E_π[r] − KL(π ‖ π_ref) against log Z − KL(π ‖ π_φ), with the reward that the pairs teach. */
function showDistillation(): Equivalence {
  const reward = rewardOfPairs();
  const target = tilt(reward);
  const logZ = Math.log(REFERENCE.reduce((sum, p, i) => sum + p * Math.exp(reward[i]!), 0));
  const r = tf.tensor1d(reward);
  const regularized = (theta: tf.Tensor) => tf.sub(mean(theta, r), divergenceFrom(theta, REFERENCE)) as tf.Scalar;
  const distilled = (theta: tf.Tensor) => tf.sub(logZ, divergenceFrom(theta, target)) as tf.Scalar;

  const random = seedRandom(2, 0);
  const policies = Array.from({ length: 100 }, () => tf.tensor1d([0, 1, 2].map(() => 6 * random() - 3)));
  const each = (of: (theta: tf.Tensor) => tf.Tensor) => policies.flatMap((theta) => [...of(theta).dataSync()]);
  const found = (score: (theta: tf.Tensor) => tf.Scalar) =>
    softmax(descend((theta) => tf.neg(score(theta)), 1, LOG_REFERENCE));
  return {
    equations: '13 to 15',
    claim: 'KL-regularised RL on that reward is the reverse-KL distillation of the energy-based policy.',
    left: 'E_π[r] − KL(π ‖ π_ref)',
    right: 'log Z − KL(π ‖ π_φ), π_φ = π_ref e^r / Z',
    checks: [
      { what: 'value, 100 random policies', difference: gap(each(regularized), each(distilled)) },
      {
        what: 'slopes by the logits of these policies',
        difference: gap(each(tf.grad(regularized)), each(tf.grad(distilled))),
      },
      { what: 'the policies where each is largest', difference: gap(found(regularized), found(distilled)) },
      { what: 'and both against π_φ itself', difference: gap(found(regularized), target) },
    ],
  };
}

/** First a density ratio, then the policy that distils it; against the policy put in the ratio's place. */
function showStages(): Equivalence {
  const checks = (['lsif', 'ukl', 'bce'] as const).flatMap((objective) => {
    const request = { objective };
    const ratio = tf.tensor1d(findRatios(request, 0.8).f);
    const second = softmax(
      descend((theta) => tf.sub(divergenceFrom(theta, REFERENCE), mean(theta, ratio)), 1, LOG_REFERENCE),
    );
    const once = findPolicy(request, 0.8).f.map((f, i) => REFERENCE[i]! * Math.exp(f));
    return [
      { what: `${objective}: the two policies`, difference: gap(second, once) },
      { what: `${objective}: one stage against the true chosen distribution`, difference: gap(once, CHOSEN) },
    ];
  });
  return {
    equations: '17, and 22 to 24',
    claim: 'Two stages, a density ratio and then the policy that distils it, end where one stage ends.',
    left: 'r̂ least in the Bregman loss over free ratios; then π largest in E_π[log r̂] − KL(π ‖ π_ref)',
    right: 'π least in the same Bregman loss with r = π/π_ref',
    checks,
  };
}

/** Picking the chosen one out of two by the scores e^{βf}, as contrastive predictive coding does, against DPO. */
function showContrast(): Equivalence {
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
        difference: gap(contrast(chosen, rejected).dataSync(), dpo(chosen, rejected).dataSync()),
      },
      { what: `β ${beta}: its slopes`, difference: gapOfSlopes(contrast, dpo, chosen, rejected) },
    ];
  });
  return {
    equations: '25 to 27',
    claim: 'DPO is Direct Imitation Learning with contrastive predictive coding for its density ratio.',
    left: '−log e^{βf_w} / (e^{βf_w} + e^{βf_l}): the cross-entropy of telling the chosen answer from one of the reference',
    right: '−log σ(β(f_w − f_l)), `dpo` of objectives.ts',
    checks,
  };
}

/** The reward that −log σ(r_w − r_l) is least at over all pairs, where rewards stand for log-ratios. */
function rewardOfPairs(): number[] {
  return findRatios({ objective: 'dpo', beta: 1 }, 2).f;
}

function dpoLosses(chosen: tf.Tensor, rejected: tf.Tensor, beta: number): tf.Tensor1D {
  const request: ObjectiveRequest = { objective: 'dpo', beta };
  const ones: tf.Tensor1D = tf.onesLike(chosen as tf.Tensor1D);
  return pairLosses(readObjective(request), {
    chosen: chosen as tf.Tensor1D,
    rejected: rejected as tf.Tensor1D,
    chosenLogps: chosen as tf.Tensor1D,
    chosenImportance: ones,
    rejectedImportance: ones,
  });
}

type Loss = (w: tf.Tensor, l: tf.Tensor) => tf.Tensor1D;

function gapOfSlopes(one: Loss, other: Loss, chosen: tf.Tensor1D, rejected: tf.Tensor1D): number {
  const slopes = (loss: Loss) =>
    tf
      .grads(loss)([chosen, rejected])
      .flatMap((slope) => [...slope.dataSync()]);
  return gap(slopes(one), slopes(other));
}

function gap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
}
