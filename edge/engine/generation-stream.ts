// One generation on the main thread: turns the token ids of its choices into text and events, and queues them for the one
// who iterates. The queue is bounded by maxTokens, so a slow client costs memory for its own tokens and nobody's time.
import { AttuneError } from '../../shared/error.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { FinishEvent, GenerationEvent, GenerationInput } from './inference.ts';
import type { JobEvent } from './request.ts';
import type { Stopwatch } from './request-timer.ts';
import { StopText } from './stop-strings.ts';
import type { JobListener } from './worker-client.ts';

type Choice = { text: StopText; tokenIds: number[]; logprobs: number[] };

export class Generation implements JobListener, AsyncIterable<GenerationEvent> {
  /** Resolves when every choice is over, whether or not anybody has read its events. */
  readonly over: Promise<void>;
  /** Told of each choice that ends for a reason of this side's, so that its row can be freed. */
  onAbandon: (index: number) => void = () => {};
  private readonly choices = new Map<number, Choice>();
  private readonly watch: Stopwatch | undefined;
  private readonly events: GenerationEvent[] = [];
  private error: Error | null = null;
  private wake: () => void = () => {};
  private end: () => void = () => {};

  constructor(tokenizer: Tokenizer, { promptIds, sampling, n }: GenerationInput, watch?: Stopwatch) {
    this.watch = watch;
    this.over = new Promise((resolve) => {
      this.end = resolve;
    });
    for (let index = 0; index < n; index++) {
      this.choices.set(index, { text: new StopText(tokenizer, promptIds, sampling.stop), tokenIds: [], logprobs: [] });
    }
  }

  get isOver(): boolean {
    return this.choices.size === 0;
  }

  receive(event: JobEvent): void {
    const choice = this.choices.get(event.index);
    if (!choice) return;
    if (event.type === 'start') this.watch?.start(event.waited);
    else if (event.type === 'failed') {
      const message = `generation: the policy could not compute: ${event.message}; another policy may be able to`;
      this.fail(new AttuneError(message, { status: 503, code: 'generation_failed' }));
    } else if (event.type === 'finish') {
      this.finish(event.index, choice, event.finish, event.stopToken);
    } else {
      const { index, tokenId, logprob, topLogprobs } = event;
      this.watch?.token(index);
      choice.tokenIds.push(tokenId);
      choice.logprobs.push(logprob);
      this.emit({ type: 'token', index, tokenId, logprob, topLogprobs, text: choice.text.push(tokenId) });
      if (!choice.text.isStopped) return;
      this.onAbandon(index);
      this.finish(index, choice, 'stop', null);
    }
  }

  /** Ends what is not over yet; the iteration throws once the events before are read. */
  fail(error: Error): void {
    if (this.isOver) return;
    this.error = error;
    for (const index of this.choices.keys()) {
      this.onAbandon(index);
      this.watch?.finish(index, 'error');
    }
    this.choices.clear();
    this.end();
    this.wake();
  }

  /** Ends what is not over yet with what it has. */
  cancel(): void {
    for (const [index, choice] of this.choices) {
      this.onAbandon(index);
      this.finish(index, choice, 'cancelled', null);
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerationEvent, void, undefined> {
    try {
      while (true) {
        const event = this.events.shift();
        if (event) yield event;
        else if (this.error) throw this.error;
        else if (this.isOver) return;
        else
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
      }
    } finally {
      this.cancel();
    }
  }

  private finish(index: number, choice: Choice, finish: FinishEvent['finish'], stopToken: number | null): void {
    choice.text.finish();
    const { tokenIds, logprobs } = choice;
    this.choices.delete(index);
    this.watch?.finish(index, finish);
    this.emit({ type: 'finish', index, finish, tokenIds, logprobs, text: choice.text.text, stopToken });
    if (this.isOver) this.end();
  }

  private emit(event: GenerationEvent): void {
    this.events.push(event);
    this.wake();
  }
}
