// A policy that this isolate computes. A generation is a scheduler of its own on the policy's one session, driven by the
// request that asked: a Worker cannot wait for another request, and what a request began ends with it. Between turns the
// event loop turns, so that what was generated is sent, and a cancellation is heard.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { GenerationStream } from '../engine/generation-stream.ts';
import type { GenerationEvent, GenerationInput, LoadedPolicy } from '../engine/inference.ts';
import { maxSequenceLength, reservedKvBytes } from '../engine/kv-budget.ts';
import { epochSeconds } from '../engine/request.ts';
import { Scheduler } from '../engine/scheduler.ts';
import { validatePrompt } from '../engine/validate-prompt.ts';
import type { AdmissionOptions, KvAdmission, Reservation } from './kv-admission.ts';
import { pause } from './pause.ts';

export type LocalPolicyOptions = AdmissionOptions & {
  admission: KvAdmission;
  /** A decoder over the policy's session, for one generation. */
  makeDecoder(): Decoder;
  tokenizer: Tokenizer;
};

/** Milliseconds between two looks whether there is room. */
const POLL_INTERVAL_MS = 10;

export class LocalPolicy implements LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  private readonly options: LocalPolicyOptions;

  constructor(id: string, architecture: Architecture, options: LocalPolicyOptions) {
    this.id = id;
    this.architecture = architecture;
    this.tokenizer = options.tokenizer;
    this.options = options;
  }

  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
    validatePrompt(input.promptIds, this, this.options.kvMemory);
    const stay = this.options.admission.reserve({ policy: this, bytes: this.reserveBytes(input), choices: input.n });
    const generation = new GenerationStream(this.tokenizer, input);
    const cancel = () => generation.cancel();
    signal?.addEventListener('abort', cancel);
    // At once: with its last event a request may be over, and then nothing more of it runs.
    void generation.done.then(() => {
      this.options.admission.release(stay);
      signal?.removeEventListener('abort', cancel);
    });
    if (signal?.aborted) cancel();
    this.run(generation, input, stay).catch((error: Error) => generation.onError(error));
    return generation;
  }

  private async run(generation: GenerationStream, input: GenerationInput, stay: Reservation): Promise<void> {
    const { admission: room, maxRows, makeDecoder } = this.options;
    const { promptIds, n, tenant = '', sharedLength = 0 } = input;
    const { stop: _, ...sampling } = input.sampling;
    const arrivedAt = epochSeconds();
    while (!generation.isDone && !room.tryStart(stay)) await pause(POLL_INTERVAL_MS);
    if (generation.isDone) return;
    const scheduler = new Scheduler(makeDecoder(), { maxRows, kvMemory: stay.bytes });
    generation.onAbort = (index) => scheduler.cancel(0, index);
    scheduler.submit({ id: 0, promptIds, sharedLength, tenant, sampling, n, arrivedAt });
    while (true) {
      const { events } = await scheduler.step();
      for (const event of events) generation.onEvent(event);
      if (generation.isDone) return;
      room.touch(stay);
      await pause(0);
    }
  }

  /** What all choices can come to need, or all there is: then they decode one after the other. */
  private reserveBytes({ promptIds, sampling, n }: GenerationInput): number {
    const { kvMemory, maxRows } = this.options;
    const reach = maxSequenceLength(kvMemory, this.architecture);
    const one = reservedKvBytes(this.architecture, reach, promptIds.length, sampling.maxTokens);
    return Math.min(kvMemory, one * Math.min(n, maxRows));
  }
}
