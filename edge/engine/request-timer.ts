// Measures the latencies of one generation's choices for the instrumentation: queue time, time to first token,
// inter-token latency, and the time to the end.
import type { Instrumentation } from './instrumentation.ts';

type FinishReason = Parameters<Instrumentation['recordFinish']>[1]['reason'];

export class RequestTimer {
  private readonly instrumentation: Instrumentation;
  private readonly policyId: string;
  private readonly promptTokens: number;
  private readonly arrivedAt = nowSeconds();
  /** Keyed by choice: the time of its last token, and its number of tokens. */
  private readonly choices = new Map<number, { lastTokenAt: number; tokens: number }>();

  constructor(instrumentation: Instrumentation, policyId: string, promptTokens: number) {
    this.instrumentation = instrumentation;
    this.policyId = policyId;
    this.promptTokens = promptTokens;
  }

  recordStart(queuedSeconds: number): void {
    this.instrumentation.recordQueueTime(this.policyId, queuedSeconds);
  }

  recordToken(index: number): void {
    const now = nowSeconds();
    const choice = this.choices.get(index);
    if (choice) {
      this.instrumentation.recordNextToken(this.policyId, now - choice.lastTokenAt);
      choice.lastTokenAt = now;
      choice.tokens++;
    } else {
      this.instrumentation.recordFirstToken(this.policyId, now - this.arrivedAt);
      this.choices.set(index, { lastTokenAt: now, tokens: 1 });
    }
  }

  recordFinish(index: number, reason: FinishReason): void {
    const { promptTokens } = this;
    const generatedTokens = this.choices.get(index)?.tokens ?? 0;
    const seconds = nowSeconds() - this.arrivedAt;
    this.instrumentation.recordFinish(this.policyId, { reason, promptTokens, generatedTokens, seconds });
  }
}

function nowSeconds(): number {
  return performance.now() / 1000;
}
