// The main thread's side of a policy's worker thread: submits requests and dispatches their events. The thread is never
// terminated, because that ends the process if a native run is in progress: it drains, releases its model and exits.
import { Worker } from 'node:worker_threads';
import { AttuneError } from '../../shared/error.ts';
import type { TokenBytes } from '../grammar/token-trie.ts';
import { policyUnusable } from './policy-errors.ts';
import type { EngineEvent, EngineRequest } from './request.ts';
import type { StepResult } from './scheduler.ts';
import type { PolicyWorkerOptions, WorkerMessage, WorkerRequest } from './worker-protocol.ts';

export type EngineEventListener = { onEvent(event: EngineEvent): void; onError(error: Error): void };

export class WorkerClient {
  /** Resolves when the thread has ended: with the error if it crashed, with null if it was closed. */
  readonly ended: Promise<Error | null>;
  /** Of the policy's keys and values, for one token of one sequence. */
  kvBytesPerPosition = 0;
  private readonly worker: Worker;
  private readonly requests = new Map<number, { listener: EngineEventListener; openChoices: Set<number> }>();
  private nextId = 1;
  private isClosing = false;
  private hasVocabulary = false;
  private hasEnded = false;

  /** Resolves when the policy is ready to serve; throws `policy_unusable` if its graph does not load or compute. */
  static async open(
    id: string,
    options: PolicyWorkerOptions,
    onStep: (stats: StepResult['stats']) => void = () => {},
  ): Promise<WorkerClient> {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      name: `policy ${id}`,
      workerData: options,
    });
    const client = new WorkerClient(worker, onStep);
    const problem = await Promise.race([
      new Promise<string | null>((resolve) => {
        worker.on('message', (message: WorkerMessage) => {
          if (message.type === 'ready') {
            client.kvBytesPerPosition = message.kvBytesPerPosition;
            resolve(null);
          }
          if (message.type === 'unusable') resolve(message.reason);
        });
      }),
      client.ended.then((error) => error?.message ?? 'its thread ended'),
    ]);
    if (problem === null) return client;
    client.isClosing = true;
    throw policyUnusable(
      id,
      `its serving graph: ${problem}; \`attune policies import\` of its folder exports the graphs again, as a new policy`,
    );
  }

  private constructor(worker: Worker, onStep: (stats: StepResult['stats']) => void) {
    this.worker = worker;
    worker.on('message', (message: WorkerMessage) => {
      if (message.type !== 'step' && message.type !== 'events') return;
      for (const event of message.events) this.handleEvent(event);
      if (message.type === 'step') onStep(message.stats);
    });
    let uncaught: Error | null = null;
    worker.on('error', (error: Error) => {
      uncaught = error;
    });
    this.ended = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.hasEnded = true;
        const error = this.isClosing ? null : (uncaught ?? new Error(`it exited with code ${code}`));
        for (const { listener } of this.requests.values()) {
          listener.onError(interrupted(error?.message ?? 'it was closed'));
        }
        this.requests.clear();
        resolve(error);
      });
    });
  }

  /** Requests with a grammar need it; sent once. */
  sendVocabulary(tokens: TokenBytes): void {
    if (!this.hasVocabulary) this.post({ type: 'vocabulary', tokens });
    this.hasVocabulary = true;
  }

  /** Returns the request's id, for `cancel`. */
  submit(request: Omit<EngineRequest, 'id'>, listener: EngineEventListener): number {
    if (this.hasEnded || this.isClosing) throw new Error('internal: worker client: submit after close');
    const id = this.nextId++;
    const openChoices = new Set(Array.from({ length: request.n }, (_, index) => index));
    this.requests.set(id, { listener, openChoices });
    this.post({ type: 'submit', request: { ...request, id } });
    return id;
  }

  /** Frees the choice's row at the next step; its listener receives no more of its events. */
  cancel(id: number, index: number): void {
    if (this.closeChoice(id, index)) this.post({ type: 'cancel', id, index });
  }

  /** Resolves when the running requests have finished, the model is released and the thread has ended. */
  async close(): Promise<void> {
    this.isClosing = true;
    if (!this.hasEnded) this.post({ type: 'close' });
    await this.ended;
  }

  private post(message: WorkerRequest): void {
    this.worker.postMessage(message);
  }

  private handleEvent(event: EngineEvent): void {
    const request = this.requests.get(event.id);
    // A cancelled choice's events can still be in flight.
    if (!request?.openChoices.has(event.index)) return;
    if (event.type === 'finish' || event.type === 'failed') this.closeChoice(event.id, event.index);
    request.listener.onEvent(event);
  }

  /** Returns false if the choice was already closed. */
  private closeChoice(id: number, index: number): boolean {
    const request = this.requests.get(id);
    if (!request?.openChoices.delete(index)) return false;
    if (request.openChoices.size === 0) this.requests.delete(id);
    return true;
  }
}

function interrupted(reason: string): AttuneError {
  return new AttuneError(`generation: the policy's worker thread ended: ${reason}; retry the request`, {
    status: 503,
    code: 'policy_interrupted',
  });
}
