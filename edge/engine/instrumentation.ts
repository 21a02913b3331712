// What the engine tells of itself while it works, for whoever counts: edge/metrics/metrics.ts makes Prometheus's numbers of it.
// All times are in seconds.

/** One turn of a policy's scheduler: a prefill, a decoding step, or both. */
export type StepStats = {
  policyId: string;
  /** Rows that decoded in this turn. */
  decodedSequences: number;
  /** Tokens of prompts computed in this turn. */
  prefilledTokens: number;
  /** Tokens of prompts that a prefix already in memory saved, counted as their generation began. */
  cachedTokens: number;
  /** Choices that decode, and those that wait for a row. */
  running: number;
  waiting: number;
  /** Bytes of keys and values held, prefixes included, and the most there may be. */
  kvBytes: number;
  kvBudgetBytes: number;
  seconds: number;
};

export interface Instrumentation {
  recordStep(report: StepStats): void;
  /** From the request's arrival to the beginning of its prefill. */
  recordQueueTime(policyId: string, waited: number): void;
  /** From the request's arrival to its first token. */
  recordFirstToken(policyId: string, seconds: number): void;
  /** Between two tokens of one choice. */
  recordNextToken(policyId: string, seconds: number): void;
  recordFinish(
    policyId: string,
    choice: {
      reason: 'stop' | 'length' | 'cancelled' | 'error';
      promptTokens: number;
      generatedTokens: number;
      seconds: number;
    },
  ): void;
  /** A policy became the active one, `seconds` after it was asked for; or was refused. */
  recordSwap(policyId: string, seconds: number): void;
  recordRejectedPolicy(policyId: string): void;
}
