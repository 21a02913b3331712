// Calls into a worker thread and back, with errors that stay what they were. A worker that ends takes no secrets with
// it: everything that still waits is told why.
import type { Worker } from 'node:worker_threads';
import { AttuneError, type ErrorDetails } from '../../shared/error.ts';

export type Call = { id: number; method: string; args: unknown[] };
/** An error as a message; details where people may read it. */
export type Failure = { message: string; stack?: string; details?: ErrorDetails };
type Answer = { id: number; result?: unknown; failure?: Failure };
type Waiting = { method: string; resolve: (value: unknown) => void; reject: (error: Error) => void };

const CLOSED = 'it was closed';

export function toFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { message: String(error) };
  if (!(error instanceof AttuneError)) return { message: error.message, stack: error.stack };
  const { message, status, param, code, retry } = error;
  return { message, details: { status, param, code, retry } };
}

function toError({ message, stack, details }: Failure): Error {
  if (details) return new AttuneError(message, details);
  const error = new Error(message);
  if (stack) error.stack = stack;
  return error;
}

export class Remote {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private readonly ended: Promise<void>;
  private readonly name: string;
  private lastId = 0;
  private problem: string | null = null;

  constructor(worker: Worker, name: string) {
    this.worker = worker;
    this.name = name;
    worker.on('message', (answer: Answer) => this.settle(answer));
    worker.on('error', (error) => {
      this.problem = error instanceof Error ? error.message : String(error);
    });
    this.ended = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.problem ??= code === 0 ? CLOSED : `it ended with code ${code}`;
        for (const { method, reject } of this.waiting.values()) reject(this.gone(method));
        this.waiting.clear();
        resolve();
      });
    });
  }

  call<T>(method: string, ...args: unknown[]): Promise<T> {
    if (this.problem !== null) return Promise.reject(this.gone(method));
    return new Promise<T>((resolve, reject) => {
      const id = ++this.lastId;
      this.waiting.set(id, { method, resolve: resolve as (value: unknown) => void, reject });
      this.worker.postMessage({ id, method, args } satisfies Call);
    });
  }

  /** Asks the worker to finish and waits until it has. Closing twice, or what is dead already, does no harm. */
  async close(): Promise<void> {
    if (this.problem === null) {
      const closing = this.call('close');
      this.problem = CLOSED;
      await closing.catch(() => {});
    }
    await this.ended;
  }

  private settle({ id, result, failure }: Answer): void {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    this.waiting.delete(id);
    if (failure) waiting.reject(toError(failure));
    else waiting.resolve(result);
  }

  private gone(method: string): AttuneError {
    const reason = this.problem === CLOSED ? CLOSED : `${this.problem}; if that is memory, use fewer tokens at a time`;
    return new AttuneError(`${this.name}: its thread cannot ${method} any more: ${reason}`, {
      status: 500,
      code: 'engine_gone',
      retry: false,
    });
  }
}
