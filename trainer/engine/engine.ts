// The Engine interface of the trainer: scores, steps and evaluates on token ids. Texts, schedules and rounds are its
// callers' concern.
import type { Weights } from '../../shared/model/tensor.ts';

/** A prompt x and one response y to it. */
export type Sequence = { promptIds: number[]; responseIds: number[] };

export type TrainPair = {
  chosen: Sequence;
  rejected: Sequence;
  /** The reference's log-probability of each response token; NO_REFERENCE for a reward. */
  refChosenLogps: Float32Array;
  refRejectedLogps: Float32Array;
  /**
   * Importance weight of each response as a sample of the reference (clipped π_ref/μ, μ the sampling policy). Default:
   * 1.
   */
  importance?: { chosen: number; rejected: number };
  /** Of the pair in the mean loss of a step; above 0. Default: 1. */
  weight?: number;
  /** r(x, chosen) − r(x, rejected), for distill. */
  rewardMargin?: number;
};

/** A reward is trained without a reference: it takes the place of the log-ratio. */
export const NO_REFERENCE: Pick<TrainPair, 'refChosenLogps' | 'refRejectedLogps'> = {
  refChosenLogps: new Float32Array(1),
  refRejectedLogps: new Float32Array(1),
};

/** The loss and log-probabilities of one pair. */
export type PairOutcome = {
  loss: number;
  /** Reduced as the objective reduces them. */
  chosenLogRatio: number;
  rejectedLogRatio: number;
  /** Summed over the response. */
  chosenLogp: number;
  rejectedLogp: number;
};

export type StepReport = {
  /** Mean over the pairs, by their weights. */
  loss: number;
  /** Global norm of the gradient before clipping; 0 without a step. If not finite, the optimizer step was skipped. */
  gradNorm: number;
  /** If the loss or the gradient is not finite: the first such pair ("pair 3") or parameter. */
  nonFinite?: string;
  /**
   * Input tokens of both sequences of each pair without padding; a shared prompt counts twice, as in other trainers.
   */
  tokens: number;
  /** Token positions computed: a shared prompt once, padding included. */
  computedTokens: number;
  pairs: number;
  /**
   * Means over the pairs, named as in TRL: rewards/chosen, rewards/rejected and rewards/margins (log-ratios as the
   * objective reduces them), rewards/accuracies (share of positive margins), logps/chosen and logps/rejected (summed
   * over the response); and capped (share of the objective's exponentials above its cap).
   */
  metrics: Record<string, number>;
};

export interface Engine {
  readonly name: string;
  /** The log-probability of each response token of each sequence; of a reward, one number: r(x, y). */
  score(sequences: Sequence[]): Promise<Float32Array[]>;
  /** One optimizer step on the mean loss of the pairs; the result does not depend on the split into micro-batches. */
  step(pairs: TrainPair[], learningRate: number): Promise<StepReport>;
  /** Loss and metrics without a step, and the outcome of each pair in order. */
  evaluate(pairs: TrainPair[]): Promise<StepReport & { outcomes: PairOutcome[] }>;
  /** Logits [T, V] after each of T tokens. */
  logits(ids: number[]): Promise<Float32Array>;
  /** A copy of the current weights, with adapters merged. */
  weights(): Promise<Weights>;
  /** Writes the trained parameters and the optimizer state to one file, from which `restore` resumes exactly. */
  save(path: string): Promise<void>;
  restore(path: string): Promise<void>;
  /** Frees what only training needs. From here on the engine scores, evaluates and copies the trained weights. */
  endTraining(): Promise<void>;
  /** Finishes the calls in flight, then frees everything. */
  close(): Promise<void>;
}

export type OptimizerSettings = {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled weight decay, of matrices only: norm gains and biases are not decayed. */
  weightDecay: number;
  /** A gradient with a larger global norm is scaled down to this norm. */
  maxGradNorm: number;
};

export const DEFAULT_OPTIMIZER: OptimizerSettings = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxGradNorm: 1,
};
