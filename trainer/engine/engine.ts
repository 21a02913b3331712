// What the trainer asks of whatever computes gradients. It knows pairs and tokens; texts, schedules and rounds are
// other people's business.
import type { Weights } from '../../shared/model/safetensors.ts';

/** One prompt x and one response y to it. */
export type Sequence = { promptIds: number[]; responseIds: number[] };

export type TrainPair = {
  chosen: Sequence;
  rejected: Sequence;
  /** The reference's log-probability of each response token. */
  refChosenLogps: Float32Array;
  refRejectedLogps: Float32Array;
  /** What each response counts as a sample of the reference (clipped π_ref/μ, whatever sampled it); 1 unless given. */
  importance?: { chosen: number; rejected: number };
};

/** What became of one pair. */
export type PairOutcome = {
  loss: number;
  /** Log-ratios as the objective reduces them. */
  chosenRatio: number;
  rejectedRatio: number;
  /** Summed over the response. */
  chosenLogp: number;
  rejectedLogp: number;
};

export type StepReport = {
  /** Mean over the pairs. */
  loss: number;
  /** Global norm of the gradient before clipping; 0 where there was no step. If not finite, the step was skipped. */
  gradNorm: number;
  /** Where the loss or the gradient is not finite: the first pair or parameter that is not. */
  broken?: string;
  /** What both sequences of each pair hold without padding, so a shared prompt counts twice, as others count it. */
  tokens: number;
  /** Positions that were computed: a shared prompt once, and padding. */
  computed: number;
  pairs: number;
  /**
   * Means over the pairs: rewards/chosen, rewards/rejected and rewards/margins (log-ratios as the objective reduces
   * them), rewards/accuracies (share of positive margins), logps/chosen and logps/rejected (summed over the response),
   * capped (share of the objective's exponentials above its cap).
   */
  metrics: Record<string, number>;
};

export interface Engine {
  readonly name: string;
  /** The log-probability of each response token of each sequence. */
  score(sequences: Sequence[]): Promise<Float32Array[]>;
  /** One optimizer step on the mean loss of the pairs; how they are split into micro-batches does not matter. */
  step(pairs: TrainPair[], learningRate: number): Promise<StepReport>;
  /** Loss and metrics without a step, and each pair's own, in their order. */
  evaluate(pairs: TrainPair[]): Promise<StepReport & { outcomes: PairOutcome[] }>;
  /** Logits [T, V] after each of T tokens, to check an exported graph against. */
  logits(ids: number[]): Promise<Float32Array>;
  /** A copy of the weights as they are now, adapters merged. */
  weights(): Promise<Weights>;
  /** Writes what is trained and the optimizer's state to one file, from which `restore` goes on as if nothing had happened. */
  save(path: string): Promise<void>;
  restore(path: string): Promise<void>;
  /** Finishes what was asked before, then frees everything. */
  close(): Promise<void>;
}

export type OptimizerSettings = {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled, of matrices only: a norm's gain has no reason to be small. */
  weightDecay: number;
  /** A gradient with a larger global norm is scaled down to it. */
  maxGradNorm: number;
};

export const defaultOptimizer: OptimizerSettings = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxGradNorm: 1,
};
