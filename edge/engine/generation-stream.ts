// One generation on the main thread: turns the token ids of its choices into text and events, and queues them for the one
// who iterates. The queue is bounded by maxTokens, so a slow client costs memory for its own tokens and nobody's time.
import { AttuneError } from '../../shared/error.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { FinishEvent, GenerationEvent, GenerationInput } from './inference.ts';
import type { EngineEvent } from './request.ts';
import type { RequestTimer } from './request-timer.ts';
import { StopStringDetokenizer } from './stop-strings.ts';
import type { EngineEventListener } from './worker-client.ts';

type ChoiceState = { text: StopStringDetokenizer; tokenIds: number[]; logprobs: number[] };

export class GenerationStream implements EngineEventListener, AsyncIterable<GenerationEvent> {
  /** Resolves when every choice is over, whether or not anybody has read its events. */
  readonly done: Promise<void>;
  /** Told of each choice that ends for a reason of this side's, so that its row can be freed. */
  onAbort: (index: number) => void = () => {};
  private readonly choices = new Map<number, ChoiceState>();
  private readonly timer: RequestTimer | undefined;
  private readonly events: GenerationEvent[] = [];
  private error: Error | null = null;
  private wake: () => void = () => {};
  private resolveDone: () => void = () => {};

  constructor(tokenizer: Tokenizer, { promptIds, sampling, n }: GenerationInput, watch?: RequestTimer) {
    this.timer = watch;
    this.done = new Promise((resolve) => {
      this.resolveDone = resolve;
    });
    for (let index = 0; index < n; index++) {
      this.choices.set(index, {
        text: new StopStringDetokenizer(tokenizer, promptIds, sampling.stop),
        tokenIds: [],
        logprobs: [],
      });
    }
  }

  get isDone(): boolean {
    return this.choices.size === 0;
  }

  onEvent(event: EngineEvent): void {
    const choice = this.choices.get(event.index);
    if (!choice) return;
    if (event.type === 'start') this.timer?.recordStart(event.queuedSeconds);
    else if (event.type === 'failed') {
      const message = `generation: the policy could not compute: ${event.message}; another policy may be able to`;
      this.onError(new AttuneError(message, { status: 503, code: 'generation_failed' }));
    } else if (event.type === 'finish') {
      this.finish(event.index, choice, event.finish, event.stopToken);
    } else {
      const { index, tokenId, logprob, topLogprobs } = event;
      this.timer?.recordToken(index);
      choice.tokenIds.push(tokenId);
      choice.logprobs.push(logprob);
      this.emit({ type: 'token', index, tokenId, logprob, topLogprobs, text: choice.text.push(tokenId) });
      if (!choice.text.isStopped) return;
      this.onAbort(index);
      this.finish(index, choice, 'stop', null);
    }
  }

  /** Ends what is not over yet; the iteration throws once the events before are read. */
  onError(error: Error): void {
    if (this.isDone) return;
    this.error = error;
    for (const index of this.choices.keys()) {
      this.onAbort(index);
      this.timer?.recordFinish(index, 'error');
    }
    this.choices.clear();
    this.resolveDone();
    this.wake();
  }

  /** Ends what is not over yet with what it has. */
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
            this.wake = resolve;
          });
      }
    } finally {
      this.cancel();
    }
  }

  private finish(
    index: number,
    choice: ChoiceState,
    finish: FinishEvent['finishReason'],
    stopToken: number | null,
  ): void {
    choice.text.finish();
    const { tokenIds, logprobs } = choice;
    this.choices.delete(index);
    this.timer?.recordFinish(index, finish);
    this.emit({ type: 'finish', index, finishReason: finish, tokenIds, logprobs, text: choice.text.text, stopToken });
    if (this.isDone) this.resolveDone();
  }

  private emit(event: GenerationEvent): void {
    this.events.push(event);
    this.wake();
  }
}
