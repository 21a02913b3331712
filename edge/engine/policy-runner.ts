// One policy and the worker thread that runs it. The thread can end (a crash, or a swap while a caller still holds the
// policy), but a policy is immutable: a generation that finds no thread waits for a new one.
import { setTimeout } from 'node:timers/promises';
import type { Prompt } from '../../shared/chat-message.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { Grammar } from '../grammar/program.ts';
import { type AdmissionLimits, type Places, validatePlaces } from './admission.ts';
import { Backoff } from './backoff.ts';
import { GenerationStream } from './generation-stream.ts';
import type {
  EncodedPair,
  EncodedPrompt,
  GenerationEvent,
  GenerationInput,
  LoadedPolicy,
  ResponseText,
  Waiter,
} from './inference.ts';
import type { Instrumentation } from './instrumentation.ts';
import { openPolicyTokenizer, type PolicyTokenizer, readPolicyArchitecture } from './load-package.ts';
import { serverClosing } from './policy-errors.ts';
import { epochSeconds } from './request.ts';
import { RequestTimer } from './request-timer.ts';
import type { StepResult } from './scheduler.ts';
import type { TokenizerThread } from './tokenizer-thread.ts';
import { WorkerClient } from './worker-client.ts';
import type { PolicyWorkerOptions } from './worker-protocol.ts';

export type RunnerOptions = AdmissionLimits & {
  threads: number;
  graph: PolicyWorkerOptions['graph'];
  kvMemoryBytes: number;
  instrumentation: Instrumentation | undefined;
  tokenizerThread: TokenizerThread;
  closing: AbortSignal;
};

export class PolicyRunner implements LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  readonly kvMemoryBytes: number;
  readonly kvBytesPerPosition: number;
  readonly maxRows: number;
  private readonly tokenizerKey: string;
  private readonly folder: string;
  private readonly options: RunnerOptions;
  private worker: WorkerClient | null = null;
  private starting: Promise<WorkerClient> | null = null;
  private closing: Promise<void> = Promise.resolve();
  private readonly backoff = new Backoff();
  private readonly generations = new Map<GenerationStream, GenerationInput>();
  private isRetired = false;

  /** Resolves when the tokenizer is open, and the worker has loaded the policy and computed finite logits. */
  static async open(id: string, folder: string, options: RunnerOptions): Promise<PolicyRunner> {
    const architecture = await readPolicyArchitecture(id, folder);
    const [worker, tokenizer] = await Promise.allSettled([
      openWorker(id, folder, architecture, options),
      openPolicyTokenizer(id, folder, architecture, options.tokenizerThread),
    ]);
    if (worker.status === 'fulfilled' && tokenizer.status === 'fulfilled')
      return new PolicyRunner(id, folder, architecture, tokenizer.value, worker.value, options);
    if (worker.status === 'fulfilled') await worker.value.close();
    throw tokenizer.status === 'rejected' ? tokenizer.reason : (worker as PromiseRejectedResult).reason;
  }

  private constructor(
    id: string,
    folder: string,
    architecture: Architecture,
    { tokenizer, tokenizerKey }: PolicyTokenizer,
    worker: WorkerClient,
    options: RunnerOptions,
  ) {
    this.id = id;
    this.folder = folder;
    this.architecture = architecture;
    this.tokenizer = tokenizer;
    this.tokenizerKey = tokenizerKey;
    this.kvMemoryBytes = options.kvMemoryBytes;
    this.kvBytesPerPosition = worker.kvBytesPerPosition;
    this.maxRows = options.maxRows;
    this.options = options;
    this.useWorker(worker);
  }

  encodePrompt(prompt: Prompt, waiter?: Waiter): Promise<EncodedPrompt> {
    return this.encode(prompt, undefined, waiter);
  }

  async encodePair(prompt: Prompt, response: ResponseText, waiter?: Waiter): Promise<EncodedPair> {
    return (await this.encode(prompt, response, waiter)) as EncodedPair;
  }

  compileSchema(schema: unknown, path: string, waiter?: Waiter): Promise<Grammar> {
    throwIfClosing(this.options.closing);
    return this.options.tokenizerThread.compile({ schema, path }, waiter);
  }

  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
    throwIfClosing(this.options.closing);
    if (!input.isAdmitted) validatePlaces(this.countPlaces(input), this.options);
    // The tokens of a given response are not generated.
    const instrumentation = input.response ? undefined : this.options.instrumentation;
    const timer = instrumentation && new RequestTimer(instrumentation, this.id, input.promptIds.length);
    const generation = new GenerationStream(this.tokenizer, input, timer);
    if (signal?.aborted) {
      generation.cancel();
      return generation;
    }
    this.generations.set(generation, input);
    const abort = () => generation.cancel();
    signal?.addEventListener('abort', abort);
    void generation.done.then(() => {
      signal?.removeEventListener('abort', abort);
      this.generations.delete(generation);
      this.closeIfUnused();
    });
    const arrivedAt = epochSeconds();
    if (this.worker) this.submit(this.worker, generation, input, arrivedAt);
    else {
      this.startWorker().then(
        (worker) => this.submit(worker, generation, input, arrivedAt),
        (error: Error) => generation.onError(error),
      );
    }
    return generation;
  }

  /** Closes the worker as soon as it has no generations left; resolves when its thread has ended. */
  async retire(): Promise<void> {
    this.isRetired = true;
    await this.starting?.catch(() => {});
    await Promise.all(Array.from(this.generations.keys(), (generation) => generation.done));
    this.closeIfUnused();
    await this.closing;
  }

  /** Finishes all generations with the tokens they have. */
  cancelAll(): void {
    for (const generation of this.generations.keys()) generation.cancel();
  }

  private async encode(
    prompt: Prompt,
    response: ResponseText | undefined,
    waiter: Waiter | undefined,
  ): Promise<EncodedPrompt> {
    throwIfClosing(this.options.closing);
    const { folder, tokenizerKey: key, architecture } = this;
    const request = { folder, key, contextLength: architecture.contextLength, prompt, response };
    return this.options.tokenizerThread.encode(request, waiter);
  }

  private countPlaces({ tenant, n, submitted = 0 }: GenerationInput): Places {
    const places = { held: 0, own: -submitted, added: n };
    for (const other of this.generations.values()) {
      places.held += other.n;
      if (other.tenant === tenant) places.own += other.n;
    }
    return places;
  }

  private submit(worker: WorkerClient, generation: GenerationStream, input: GenerationInput, arrivedAt: number): void {
    if (generation.isDone) return;
    const { promptIds, n, tenant = '', sharedLengths = [], response, grammar } = input;
    const { stop: _, ...sampling } = input.sampling;
    if (grammar) worker.sendVocabulary(this.tokenizer.listTokenBytes());
    const id = worker.submit(
      { promptIds, sharedLengths, tenant, sampling, n, response, grammar, arrivedAt },
      generation,
    );
    generation.onAbort = (index) => worker.cancel(id, index);
  }

  private startWorker(): Promise<WorkerClient> {
    this.starting ??= this.restartWorker().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async restartWorker(): Promise<WorkerClient> {
    const { id, folder, architecture, options } = this;
    const { closing } = options;
    const { delayMs } = this.backoff;
    if (delayMs > 0) await setTimeout(delayMs, undefined, { signal: closing }).catch(() => throwIfClosing(closing));
    const worker = await openWorker(id, folder, architecture, options);
    this.useWorker(worker);
    return worker;
  }

  private useWorker(worker: WorkerClient): void {
    this.backoff.recordStart();
    this.worker = worker;
    void worker.ended.then((error) => {
      if (this.worker !== worker) return;
      this.worker = null;
      if (error) this.backoff.recordCrash();
      // Restart a crashed worker; if that fails too, the next generation tries again and reports the error.
      if (error && !this.isRetired && !this.options.closing.aborted) this.startWorker().catch(() => {});
    });
  }

  private closeIfUnused(): void {
    if (!this.isRetired || this.generations.size > 0 || !this.worker) return;
    const { worker } = this;
    this.worker = null;
    this.closing = Promise.all([this.closing, worker.close()]).then(() => {});
  }
}

function openWorker(
  id: string,
  folder: string,
  architecture: Architecture,
  { threads, graph, maxRows, tenants, kvMemoryBytes, instrumentation }: RunnerOptions,
): Promise<WorkerClient> {
  const onStep = (stats: StepResult['stats']) => instrumentation?.recordStep({ policyId: id, ...stats });
  return WorkerClient.open(
    id,
    {
      ...{ folder, graph, architecture, threads, maxRows, kvMemoryBytes },
      isShared: tenants?.isShared === true,
    },
    onStep,
  );
}

export function throwIfClosing(closing: AbortSignal): void {
  if (closing.aborted) throw serverClosing();
}
