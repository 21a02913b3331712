// How much of everything the demo does. The counts were measured on two cores so that the whole ends well under ten
// minutes; docs/LOG.md has what else was tried.

export type Plan = {
  rounds: number;
  /** comparisons before each round */
  comparisons: number;
  evaluationPrompts: number;
  maxTokens: number;
  temperature: number;
  /** comparisons in flight; each decodes two rows */
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

export const fullPlan: Plan = {
  rounds: 3,
  comparisons: 600,
  evaluationPrompts: 200,
  maxTokens: 64,
  temperature: 1,
  concurrency: 8,
  seed: 1,
  training: { objective: 'lsif', reduction: 'mean', learning_rate: 2e-5, epochs: 1, batch_pairs: 8 },
};

/** One small round, to see that everything holds together; too little to learn from. */
export const quickPlan: Plan = {
  ...fullPlan,
  rounds: 1,
  comparisons: 80,
  evaluationPrompts: 16,
  maxTokens: 40,
  training: { ...fullPlan.training, epochs: 1 },
};
