// What the engine reports about its work: edge/metrics/metrics.ts exports it to Prometheus under vLLM's names.
// All times are in seconds.

/** One step of a policy's scheduler: a prefill, a decoding step, or both. */
export type StepStats = {
  policyId: string;
  /** Sequences that decoded in this step. */
  decodedSequences: number;
  /** Prompt tokens computed in this step. */
  prefilledTokens: number;
  /** Prompt tokens found in the prefix cache, counted when their request starts. */
  cachedTokens: number;
  /** Choices in the decode batch. */
  running: number;
  /** Choices in the queue or in prefill. */
  waiting: number;
  /** Bytes of keys and values held, prefix cache included. */
  kvBytes: number;
  kvBudgetBytes: number;
  seconds: number;
};

export interface Instrumentation {
  recordStep(stats: StepStats): void;
  /** From a request's arrival to the start of its prefill. */
  recordQueueTime(policyId: string, seconds: number): void;
  /** From a request's arrival to its first token. */
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
  /** A policy became active, `seconds` after its activation was requested. */
  recordSwap(policyId: string, seconds: number): void;
  /** A policy failed to load and did not become active. */
  recordRejectedPolicy(policyId: string): void;
}
