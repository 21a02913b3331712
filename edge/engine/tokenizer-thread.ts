// The main thread's side of the tokenizer thread, which all policies of the process share: callers take turns, and a schema,
// or a prompt whose template or tokenizing takes too long or needs too much memory costs its own request and the thread, which
// is replaced. The requests behind it run on the new one.
import { Worker } from 'node:worker_threads';
import { AttuneError } from '../../shared/error.ts';
import type { Grammar } from '../grammar/program.ts';
import { type AdmissionLimits, validatePlaces } from './admission.ts';
import { FairQueue } from './fair-queue.ts';
import type { EncodedPrompt, Waiter } from './inference.ts';
import { serverClosing } from './policy-errors.ts';
import type { SchemaRequest, TokenizerMessage, TokenizerPhase, TokenizerRequest } from './tokenizer-protocol.ts';
import { getPromptField } from './validate-prompt.ts';

export type ThreadLimits = {
  /** Milliseconds for each phase. */
  phaseMs: Record<TokenizerPhase, number>;
  heapMiB: number;
};

/** The largest vocabularies take seconds to open, and some 200 MiB; the longest valid prompts and schemas half a second. */
const LIMITS: ThreadLimits = { phaseMs: { open: 30_000, render: 5000, encode: 5000, compile: 5000 }, heapMiB: 1024 };

const CHECKPOINT_WORK: Partial<Record<TokenizerPhase, string>> = {
  open: 'tokenizer.json: opening it',
  render: 'tokenizer_config.json: chat_template: rendering a short chat',
  encode: 'tokenizer.json: tokenizing a short text',
};

/**
 * At the heap's limit Node allows 16 MiB more until the thread has ended; a collection that moves more young objects than
 * that ends the whole process.
 */
const YOUNG_MIB = 8;

/** Opens a checkpoint's tokenizer and renders a chat with its template, within the limits of serving. */
export async function validateTokenizerFiles(folder: string): Promise<void> {
  const thread = new TokenizerThread({ maxRows: 1, maxQueue: 1 });
  try {
    await thread.encode({ folder, key: folder, contextLength: Number.MAX_SAFE_INTEGER, prompt: null });
  } finally {
    await thread.close();
  }
}

type Result = EncodedPrompt | Grammar;
type Job = { request: TokenizerRequest | SchemaRequest; settle(result: Result | Error): void };

export class TokenizerThread {
  private readonly admission: AdmissionLimits;
  private readonly limits: ThreadLimits;
  private readonly queue = new FairQueue<Job>();
  private current: Job | null = null;
  private worker: Worker | null = null;
  private phase: TokenizerPhase = 'open';
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(admission: AdmissionLimits, limits = LIMITS) {
    this.admission = admission;
    this.limits = limits;
  }

  /** Throws what encodePrompt throws, `queue_full`, an error that names what took too long, or the signal's reason. */
  encode(request: TokenizerRequest, waiter?: Waiter): Promise<EncodedPrompt> {
    return this.submit(request, waiter) as Promise<EncodedPrompt>;
  }

  /** Throws what compileJsonSchema throws, and what encode does besides. */
  compile(request: SchemaRequest, waiter?: Waiter): Promise<Grammar> {
    return this.submit(request, waiter) as Promise<Grammar>;
  }

  private submit(request: Job['request'], { tenant = '', signal }: Waiter = {}): Promise<Result> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.isClosed) throw serverClosing();
      // Loading a policy is no caller's request.
      if ('schema' in request || request.prompt !== null)
        validatePlaces({ held: this.queue.size, own: this.queue.countOf(tenant), added: 1 }, this.admission);
      const abort = () => {
        this.queue.remove((other) => other === job);
        reject(signal!.reason);
      };
      const job: Job = {
        request,
        settle(result) {
          signal?.removeEventListener('abort', abort);
          if (result instanceof Error) reject(result);
          else resolve(result);
        },
      };
      signal?.addEventListener('abort', abort);
      this.queue.push(tenant, job);
      this.runNext();
    });
  }

  /** Ends the thread; requests in progress and later ones fail. */
  async close(): Promise<void> {
    this.isClosed = true;
    const { worker } = this;
    this.dropThread();
    for (let job = this.current ?? this.queue.shift(); job; job = this.queue.shift()) job.settle(serverClosing());
    this.current = null;
    await worker?.terminate();
  }

  private runNext(): void {
    if (this.current) return;
    const job = this.queue.shift();
    if (!job) return;
    this.current = job;
    this.worker ??= this.startThread();
    this.startPhase('open');
    this.worker.postMessage(job.request);
  }

  private finish(result: Result | Error): void {
    this.stopTimer();
    const job = this.current!;
    this.current = null;
    job.settle(result);
    this.runNext();
  }

  private startThread(): Worker {
    const worker = new Worker(new URL('./tokenizer-worker.ts', import.meta.url), {
      name: 'tokenizer',
      resourceLimits: { maxOldGenerationSizeMb: this.limits.heapMiB, maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    worker.on('message', (message: TokenizerMessage) => {
      if (this.worker !== worker) return;
      if (message.type === 'phase') this.startPhase(message.phase);
      else if (message.type === 'encoded') this.finish(message.encoded);
      else if (message.type === 'compiled') this.finish(message.grammar);
      else
        this.finish(message.details ? new AttuneError(message.message, message.details) : new Error(message.message));
    });
    worker.on('error', (error: NodeJS.ErrnoException) => {
      if (this.worker !== worker) return;
      this.dropThread();
      if (!this.current) return;
      const isMemory = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
      this.finish(isMemory ? this.describeExcess(`needs more than ${this.limits.heapMiB} MiB of memory`) : error);
    });
    return worker;
  }

  private startPhase(phase: TokenizerPhase): void {
    this.stopTimer();
    this.phase = phase;
    const timer = setTimeout(() => {
      // If this thread was blocked, the message that ends the phase may have arrived, and is handled first.
      setImmediate(() => this.timer === timer && this.replaceThread());
    }, this.limits.phaseMs[phase]);
    this.timer = timer;
  }

  private stopTimer(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private dropThread(): void {
    this.stopTimer();
    this.worker = null;
  }

  private replaceThread(): void {
    void this.worker?.terminate();
    this.dropThread();
    this.finish(this.describeExcess(`takes longer than ${this.limits.phaseMs[this.phase] / 1000} seconds`));
  }

  /** The error of the current request, whose phase used too much time or memory. */
  private describeExcess(problem: string): AttuneError {
    const { request } = this.current!;
    if ('schema' in request)
      return new AttuneError(`${request.path}: compiling it ${problem}; simplify it`, {
        param: request.path,
        code: 'unsupported_schema',
      });
    const { prompt } = request;
    if (prompt === null || this.phase === 'open') {
      return new AttuneError(`${CHECKPOINT_WORK[this.phase]} ${problem}; fix it, or export the checkpoint again`, {
        code: 'invalid_checkpoint',
      });
    }
    if (this.phase === 'render')
      return new AttuneError(
        `messages: the policy's chat template ${problem} for them; shorten them, or fix chat_template in the policy's ` +
          'tokenizer_config.json',
        { param: 'messages', code: 'chat_template_error' },
      );
    const field = getPromptField(prompt);
    return new AttuneError(`${field}: tokenizing the prompt ${problem}; shorten it`, {
      param: field,
      code: 'tokenizer_error',
    });
  }
}
