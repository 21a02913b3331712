// One generation on the main thread: converts the engine's token events into text and queues them for one reader. The
// queue is bounded by maxTokens, so a slow client costs memory for its own tokens and delays no other.
import { AttuneError } from '../../shared/error.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { FinishEvent, GenerationEvent, GenerationInput } from './inference.ts';
import type { EngineEvent } from './request.ts';
import type { RequestTimer } from './request-timer.ts';
import { StopStringDetokenizer } from './stop-strings.ts';
import type { EngineEventListener } from './worker-client.ts';

/** A given response has no `detokenizer`: its text is not asked for. */
type ChoiceState = { detokenizer: StopStringDetokenizer | null; tokenIds: number[]; logprobs: number[] };

export class GenerationStream implements EngineEventListener, AsyncIterable<GenerationEvent> {
  /** Resolves when every choice has finished, even if its events are still unread. */
  readonly done: Promise<void>;
  /** Called for each choice that ends on this side (stop string, cancellation, error), so that its row can be freed. */
  onAbort: (index: number) => void = () => {};
  /** The choices that have not finished yet. */
  private readonly choices = new Map<number, ChoiceState>();
  private readonly timer: RequestTimer | undefined;
  private readonly onStart: (() => void) | undefined;
  private readonly events: GenerationEvent[] = [];
  private error: Error | null = null;
  private wakeReader: () => void = () => {};
  private resolveDone: () => void = () => {};

  constructor(
    tokenizer: Tokenizer,
    { promptIds, sampling, n, response, onStart }: GenerationInput,
    timer?: RequestTimer,
  ) {
    this.timer = timer;
    this.onStart = onStart;
    this.done = new Promise((resolve) => {
      this.resolveDone = resolve;
    });
    for (let index = 0; index < n; index++) {
      const detokenizer = response ? null : new StopStringDetokenizer(tokenizer, promptIds, sampling.stop);
      this.choices.set(index, { detokenizer, tokenIds: [], logprobs: [] });
    }
  }

  get isDone(): boolean {
    return this.choices.size === 0;
  }

  onEvent(event: EngineEvent): void {
    const choice = this.choices.get(event.index);
    if (!choice) return;
    if (event.type === 'start') {
      this.timer?.recordStart(event.queuedSeconds);
      this.onStart?.();
    } else if (event.type === 'failed') {
      const message = `generation: the policy failed to compute: ${event.message}; try another policy`;
      this.onError(
        event.details
          ? new AttuneError(event.message, event.details)
          : new AttuneError(message, { status: 503, code: 'generation_failed' }),
      );
    } else if (event.type === 'finish') {
      this.finish(event.index, choice, event.finishReason, event.stop);
    } else {
      const { index, tokenId, logprob, topLogprobs } = event;
      this.timer?.recordToken(index);
      choice.tokenIds.push(tokenId);
      choice.logprobs.push(logprob);
      const text = choice.detokenizer?.push(tokenId) ?? '';
      this.emit({ type: 'token', index, tokenId, logprob, topLogprobs, text });
      if (!choice.detokenizer?.isStopped) return;
      this.onAbort(index);
      this.finish(index, choice, 'stop', null);
    }
  }

  /** Ends the unfinished choices; the iterator throws after it has yielded the events before the error. */
  onError(error: Error): void {
    if (this.isDone) return;
    this.error = error;
    for (const index of this.choices.keys()) {
      this.onAbort(index);
      this.timer?.recordFinish(index, 'error');
    }
    this.choices.clear();
    this.resolveDone();
    this.wakeReader();
  }

  /** Finishes the unfinished choices with the tokens they have. */
  cancel(): void {
    for (const [index, choice] of this.choices) {
      this.onAbort(index);
      this.finish(index, choice, 'cancelled', null);
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerationEvent, void, undefined> {
    try {
      while (true) {
        const event = this.events.shift();
        if (event) yield event;
        else if (this.error) throw this.error;
        else if (this.isDone) return;
        else
          await new Promise<void>((resolve) => {
            this.wakeReader = resolve;
          });
      }
    } finally {
      this.cancel();
    }
  }

  private finish(
    index: number,
    { detokenizer, tokenIds, logprobs }: ChoiceState,
    finishReason: FinishEvent['finishReason'],
    stop: FinishEvent['stop'],
  ): void {
    detokenizer?.finish();
    this.choices.delete(index);
    this.timer?.recordFinish(index, finishReason);
    this.emit({ type: 'finish', index, finishReason, tokenIds, logprobs, text: detokenizer?.text ?? '', stop });
    if (this.isDone) this.resolveDone();
  }

  private emit(event: GenerationEvent): void {
    this.events.push(event);
    this.wakeReader();
  }
}
