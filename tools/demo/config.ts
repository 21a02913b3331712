// The size of a demo run, chosen so that it takes well under ten minutes on two cores; docs/LOG.md has the alternatives
// that were measured.

export type DemoConfig = {
  rounds: number;
  /** comparisons before each round */
  comparisons: number;
  /** comparisons of a canary with the active policy, at most */
  canaryComparisons: number;
  /**
   * The round whose policy is bad on purpose, from 0: its raters choose what they like less, and its request loosens the gate
   * and leaves out the pairs of earlier rounds, which speak against it.
   */
  inverted: { round: number; training: object } | null;
  evaluationPrompts: number;
  maxTokens: number;
  temperature: number;
  /** comparisons in flight; each decodes two sequences */
  concurrency: number;
  seed: number;
  training: {
    objective: 'lsif' | 'ukl' | 'bce' | 'dpo' | 'sft';
    reduction: 'mean' | 'sum';
    learning_rate: number;
    epochs: number;
    batch_pairs: number;
  };
};

export const fullConfig: DemoConfig = {
  rounds: 3,
  comparisons: 600,
  canaryComparisons: 200,
  inverted: {
    round: 2,
    training: {
      gate_kl: 1000,
      gate_chosen_drop: 100,
      gate_length: 100,
      gate_repetition: 1,
      max_staleness: 0,
      epochs: 2,
    },
  },
  evaluationPrompts: 200,
  maxTokens: 64,
  temperature: 1,
  concurrency: 8,
  seed: 1,
  training: { objective: 'bce', reduction: 'sum', learning_rate: 2e-5, epochs: 1, batch_pairs: 8 },
};

/** One small round for smoke tests; too few pairs to learn from. */
export const quickConfig: DemoConfig = {
  ...fullConfig,
  rounds: 1,
  comparisons: 80,
  inverted: null,
  evaluationPrompts: 16,
  maxTokens: 40,
  training: { ...fullConfig.training, epochs: 1 },
};
