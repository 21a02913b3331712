// The size of a demo run, chosen so that it takes well under ten minutes on two cores; docs/LOG.md has the alternatives
// that were measured.

export type DemoConfig = {
  rounds: number;
  /** comparisons before each round */
  comparisons: number;
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
  evaluationPrompts: 16,
  maxTokens: 40,
  training: { ...fullConfig.training, epochs: 1 },
};
