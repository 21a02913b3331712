// Times the choices of one generation for the meter: from its arrival to their turn, to their first token, from token to
// token, to their end.
import type { Instrumentation } from './instrumentation.ts';

type FinishReason = Parameters<Instrumentation['recordFinish']>[1]['reason'];

export class RequestTimer {
  private readonly instrumentation: Instrumentation;
  private readonly policyId: string;
  private readonly promptTokens: number;
  private readonly arrivedAt = nowSeconds();
  /** When each choice had its last token, and how many it has. */
  private readonly choices = new Map<number, { at: number; tokens: number }>();

  constructor(meter: Instrumentation, policyId: string, promptTokens: number) {
    this.instrumentation = meter;
    this.policyId = policyId;
    this.promptTokens = promptTokens;
  }

  recordStart(waited: number): void {
    this.instrumentation.recordQueueTime(this.policyId, waited);
  }

  recordToken(index: number): void {
    const at = nowSeconds();
    const choice = this.choices.get(index);
    if (choice) {
      this.instrumentation.recordNextToken(this.policyId, at - choice.at);
      choice.at = at;
      choice.tokens++;
    } else {
      this.instrumentation.recordFirstToken(this.policyId, at - this.arrivedAt);
      this.choices.set(index, { at, tokens: 1 });
    }
  }

  recordFinish(index: number, reason: FinishReason): void {
    const { promptTokens } = this;
    const generatedTokens = this.choices.get(index)?.tokens ?? 0;
    this.instrumentation.recordFinish(this.policyId, {
      reason,
      promptTokens,
      generatedTokens,
      seconds: nowSeconds() - this.arrivedAt,
    });
  }
}

function nowSeconds(): number {
  return performance.now() / 1000;
}
