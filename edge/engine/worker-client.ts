// The main thread's end of a policy's thread: hands it jobs and gives their events to whoever waits for them. A thread is
// never terminated, because ending one inside a native run ends the process: it drains, releases its model and exits.
import { Worker } from 'node:worker_threads';
import { AttuneError } from '../../shared/error.ts';
import type { EngineEvent, EngineRequest } from './request.ts';
import type { StepResult } from './scheduler.ts';
import { policyUnusable } from './validate-package.ts';
import type { PolicyWorkerOptions, WorkerMessage, WorkerRequest } from './worker-protocol.ts';

export type EngineEventListener = { onEvent(event: EngineEvent): void; onError(error: Error): void };

export class WorkerClient {
  /** Resolves when the thread has ended, with the reason unless it was asked to. */
  readonly ended: Promise<Error | null>;
  private readonly worker: Worker;
  private readonly requests = new Map<number, { listener: EngineEventListener; open: Set<number> }>();
  private nextId = 1;
  private isClosing = false;
  private hasEnded = false;

  /** Resolves when the policy is ready to serve; rejects when its package cannot. */
  static async open(
    id: string,
    options: PolicyWorkerOptions,
    onTurn: (report: StepResult['stats']) => void = () => {},
  ): Promise<WorkerClient> {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      name: `policy ${id}`,
      workerData: options,
    });
    const thread = new WorkerClient(worker, onTurn);
    const reason = await Promise.race([
      new Promise<string | null>((resolve) => {
        worker.on('message', (message: WorkerMessage) => {
          if (message.type === 'ready') resolve(null);
          if (message.type === 'unusable') resolve(message.reason);
        });
      }),
      thread.ended.then((error) => error?.message ?? 'its thread ended'),
    ]);
    if (reason === null) return thread;
    thread.isClosing = true;
    throw policyUnusable(
      id,
      `its serving graph: ${reason}; \`attune policies import\` of its folder makes the graphs anew, as another policy`,
    );
  }

  private constructor(worker: Worker, onTurn: (report: StepResult['stats']) => void) {
    this.worker = worker;
    worker.on('message', (message: WorkerMessage) => {
      if (message.type !== 'turn' && message.type !== 'events') return;
      for (const event of message.events) this.handleEvent(event);
      if (message.type === 'turn') onTurn(message.stats);
    });
    let reason: Error | null = null;
    worker.on('error', (error: Error) => {
      reason = error;
    });
    this.ended = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.hasEnded = true;
        const why = this.isClosing ? null : (reason ?? new Error(`it exited with code ${code}`));
        for (const { listener } of this.requests.values())
          listener.onError(interrupted(why?.message ?? 'it was closed'));
        this.requests.clear();
        resolve(why);
      });
    });
  }

  /** Starts a job and returns what names it to `cancel`. */
  submit(job: Omit<EngineRequest, 'id'>, listener: EngineEventListener): number {
    if (this.hasEnded || this.isClosing) throw new Error('internal: policy thread: submit after the end');
    const id = this.nextId++;
    const open = new Set(Array.from({ length: job.n }, (_, index) => index));
    this.requests.set(id, { listener, open });
    this.post({ type: 'submit', job: { ...job, id } });
    return id;
  }

  /** The choice's row is free at the next step, and no more of its events arrive. */
  cancel(id: number, index: number): void {
    if (this.closeChoice(id, index)) this.post({ type: 'cancel', id, index });
  }

  /** Resolves when what runs has finished, the model is released and the thread is gone. */
  async close(): Promise<void> {
    this.isClosing = true;
    if (!this.hasEnded) this.post({ type: 'close' });
    await this.ended;
  }

  private post(message: WorkerRequest): void {
    this.worker.postMessage(message);
  }

  private handleEvent(event: EngineEvent): void {
    const job = this.requests.get(event.id);
    // Events that were already on their way when their choice was cancelled.
    if (!job?.open.has(event.index)) return;
    if (event.type === 'finish' || event.type === 'failed') this.closeChoice(event.id, event.index);
    job.listener.onEvent(event);
  }

  /** Notes that a choice is over; false if it already was. */
  private closeChoice(id: number, index: number): boolean {
    const job = this.requests.get(id);
    if (!job?.open.delete(index)) return false;
    if (job.open.size === 0) this.requests.delete(id);
    return true;
  }
}

function interrupted(reason: string): AttuneError {
  return new AttuneError(`generation: the policy's thread ended while it ran: ${reason}; send the request again`, {
    status: 503,
    code: 'policy_interrupted',
  });
}
