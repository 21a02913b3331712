// Calls into a worker thread. Errors keep their message, stack and AttuneError details across the thread boundary, and
// when the worker exits, every pending call is rejected with the reason.
import type { Worker } from 'node:worker_threads';
import { AttuneError, type ErrorDetails, getErrorMessage } from '../../shared/error.ts';

export type Call = { id: number; method: string; args: unknown[] };
/** An error as a message between threads; `details` for an AttuneError. */
export type SerializedError = { message: string; stack?: string; details?: ErrorDetails };
type Reply = { id: number; result?: unknown; error?: SerializedError };
type PendingCall = { method: string; resolve: (value: unknown) => void; reject: (error: Error) => void };

const CLOSED = 'it was closed';

export function serializeError(error: unknown): SerializedError {
  if (!(error instanceof Error)) return { message: String(error) };
  if (!(error instanceof AttuneError)) return { message: error.message, stack: error.stack };
  const { message, status, param, code, retry } = error;
  return { message, details: { status, param, code, retry } };
}

function deserializeError({ message, stack, details }: SerializedError): Error {
  if (details) return new AttuneError(message, details);
  const error = new Error(message);
  if (stack) error.stack = stack;
  return error;
}

export class WorkerClient {
  private readonly worker: Worker;
  private readonly pending = new Map<number, PendingCall>();
  private readonly exited: Promise<void>;
  private readonly name: string;
  private lastId = 0;
  /** Why calls are no longer possible; null while the worker runs. */
  private exitReason: string | null = null;

  constructor(worker: Worker, name: string) {
    this.worker = worker;
    this.name = name;
    worker.on('message', (reply: Reply) => this.settle(reply));
    worker.on('error', (error) => {
      this.exitReason = getErrorMessage(error);
    });
    this.exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.exitReason ??= code === 0 ? CLOSED : `it exited with code ${code}`;
        for (const { method, reject } of this.pending.values()) reject(this.unavailable(method));
        this.pending.clear();
        resolve();
      });
    });
  }

  call<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.callMoving([], method, ...args);
  }

  /** Moves `buffers` of the arguments to the worker instead of copying them; here they are empty afterwards. */
  callMoving<T>(buffers: ArrayBuffer[], method: string, ...args: unknown[]): Promise<T> {
    if (this.exitReason !== null) return Promise.reject(this.unavailable(method));
    return new Promise<T>((resolve, reject) => {
      const id = ++this.lastId;
      this.pending.set(id, { method, resolve: resolve as (value: unknown) => void, reject });
      this.worker.postMessage({ id, method, args } satisfies Call, buffers);
    });
  }

  /** Waits for the pending calls and the worker's exit. May be called again, and after a crash. */
  async close(): Promise<void> {
    if (this.exitReason === null) {
      const closing = this.call('close');
      this.exitReason = CLOSED;
      await closing.catch(() => {});
    }
    await this.exited;
  }

  private settle({ id, result, error }: Reply): void {
    const call = this.pending.get(id);
    if (!call) return;
    this.pending.delete(id);
    if (error) call.reject(deserializeError(error));
    else call.resolve(result);
  }

  private unavailable(method: string): AttuneError {
    const reason =
      this.exitReason === CLOSED ? CLOSED : `${this.exitReason}; if it ran out of memory, lower TRAIN_MEMORY`;
    return new AttuneError(`${this.name}: cannot call ${method}: ${reason}`, {
      status: 500,
      code: 'engine_gone',
      retry: false,
    });
  }
}
