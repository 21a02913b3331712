// Times the choices of one generation for the meter: from its arrival to their turn, to their first token, from token to
// token, to their end.
import type { Meter } from './instrumentation.ts';

type Reason = Parameters<Meter['finished']>[1]['reason'];

export class Stopwatch {
  private readonly meter: Meter;
  private readonly policyId: string;
  private readonly promptTokens: number;
  private readonly arrived = now();
  /** When each choice had its last token, and how many it has. */
  private readonly choices = new Map<number, { at: number; tokens: number }>();

  constructor(meter: Meter, policyId: string, promptTokens: number) {
    this.meter = meter;
    this.policyId = policyId;
    this.promptTokens = promptTokens;
  }

  start(waited: number): void {
    this.meter.started(this.policyId, waited);
  }

  token(index: number): void {
    const at = now();
    const choice = this.choices.get(index);
    if (choice) {
      this.meter.nextToken(this.policyId, at - choice.at);
      choice.at = at;
      choice.tokens++;
    } else {
      this.meter.firstToken(this.policyId, at - this.arrived);
      this.choices.set(index, { at, tokens: 1 });
    }
  }

  finish(index: number, reason: Reason): void {
    const { promptTokens } = this;
    const generatedTokens = this.choices.get(index)?.tokens ?? 0;
    this.meter.finished(this.policyId, { reason, promptTokens, generatedTokens, seconds: now() - this.arrived });
  }
}

function now(): number {
  return performance.now() / 1000;
}
