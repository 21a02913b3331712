// A policy that runs in this isolate. Each generation has its own scheduler on the policy's one session, driven by its own
// request: in a Worker a request cannot await another one, and its work ends with it. Between steps the
// event loop runs, so that tokens are sent and a cancellation is noticed.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Prompt } from '../../shared/chat-message.ts';
import type { Decoder } from '../../shared/decoder/decoder.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { encodePair, encodePrompt } from '../engine/encode-prompt.ts';
import { GenerationStream } from '../engine/generation-stream.ts';
import type {
  EncodedPair,
  EncodedPrompt,
  GenerationEvent,
  GenerationInput,
  LoadedPolicy,
  ResponseText,
} from '../engine/inference.ts';
import { maxSequenceLength, reservedKvBytes } from '../engine/kv-budget.ts';
import { epochSeconds } from '../engine/request.ts';
import { Scheduler } from '../engine/scheduler.ts';
import { Constraints } from '../grammar/constraint.ts';
import { compileJsonSchema } from '../grammar/json-schema.ts';
import type { Grammar } from '../grammar/program.ts';
import type { AdmissionOptions, KvAdmission, Reservation } from './kv-admission.ts';

type LocalPolicyOptions = AdmissionOptions & {
  admission: KvAdmission;
  /** Creates a decoder on the policy's session, for one generation. */
  createDecoder(): Decoder;
  tokenizer: Tokenizer;
};

const POLL_INTERVAL_MS = 10;

export class LocalPolicy implements LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  readonly kvMemoryBytes: number;
  readonly kvBytesPerPosition: number;
  readonly maxRows: number;
  private readonly options: LocalPolicyOptions;
  private readonly constraints: Constraints;

  constructor(id: string, architecture: Architecture, options: LocalPolicyOptions) {
    this.id = id;
    this.architecture = architecture;
    this.tokenizer = options.tokenizer;
    this.kvMemoryBytes = options.kvMemoryBytes;
    this.kvBytesPerPosition = options.createDecoder().kvBytesPerPosition;
    this.maxRows = options.maxRows;
    this.options = options;
    this.constraints = new Constraints(architecture, () => options.tokenizer.listTokenBytes());
  }

  /** In place: a Worker has no threads, and its platform limits the time of a request. */
  async encodePrompt(prompt: Prompt): Promise<EncodedPrompt> {
    return encodePrompt(this.tokenizer, prompt, this.architecture.contextLength);
  }

  async encodePair(prompt: Prompt, response: ResponseText): Promise<EncodedPair> {
    return encodePair(this.tokenizer, prompt, response, this.architecture.contextLength);
  }

  async compileSchema(schema: unknown, path: string): Promise<Grammar> {
    return compileJsonSchema(schema, path);
  }

  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
    const { admission } = this.options;
    const { n: choices, tenant, submitted, isAdmitted } = input;
    const bytes = this.getKvBytes(input);
    const reservation = admission.reserve({ policy: this, bytes, choices, tenant, submitted, isAdmitted });
    const stream = new GenerationStream(this.tokenizer, input);
    const cancel = () => stream.cancel();
    signal?.addEventListener('abort', cancel);
    // As soon as the stream is done: the request may end with its last event, and nothing runs after that.
    void stream.done.then(() => {
      admission.release(reservation);
      signal?.removeEventListener('abort', cancel);
    });
    if (signal?.aborted) cancel();
    this.run(stream, input, reservation).catch((error: Error) => stream.onError(error));
    return stream;
  }

  private async run(stream: GenerationStream, input: GenerationInput, reservation: Reservation): Promise<void> {
    const { constraints, options } = this;
    const { admission, maxRows, createDecoder } = options;
    const { promptIds, n, tenant = '', sharedLengths = [], response, grammar } = input;
    const { stop: _, ...sampling } = input.sampling;
    const arrivedAt = epochSeconds();
    while (!stream.isDone && !admission.tryStart(reservation)) await sleep(POLL_INTERVAL_MS);
    if (stream.isDone) return;
    const scheduler = new Scheduler(createDecoder(), { maxRows, kvMemoryBytes: reservation.bytes, constraints });
    stream.onAbort = (index) => scheduler.cancel(0, index);
    scheduler.submit({ id: 0, promptIds, sharedLengths, tenant, sampling, n, response, grammar, arrivedAt });
    while (true) {
      const { events } = await scheduler.step();
      for (const event of events) stream.onEvent(event);
      if (stream.isDone) return;
      admission.touch(reservation);
      await sleep(0);
    }
  }

  /** Bytes of keys and values for all choices; if they exceed the memory, all of it, and the choices decode in turn. */
  private getKvBytes({ promptIds, sampling, n }: GenerationInput): number {
    const { kvMemoryBytes, maxRows } = this.options;
    const maxLength = maxSequenceLength(this, this.architecture.contextLength);
    const perChoice = reservedKvBytes(this, maxLength, promptIds.length, sampling.maxTokens);
    return Math.min(kvMemoryBytes, perChoice * Math.min(n, maxRows));
  }
}
