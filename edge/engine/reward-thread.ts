// The main thread's side of a reward's worker thread, which computes one batch at a time.
import { Worker } from 'node:worker_threads';
import { AttuneError } from '../../shared/error.ts';
import type { RewardMessage, RewardRequest, RewardWorkerOptions } from './reward-protocol.ts';

export class RewardThread {
  private readonly worker: Worker;
  private readonly ended = Promise.withResolvers<void>();
  /** Why it ended; null while it runs. */
  private endReason: string | null = null;
  /** Of the message that is waited for. */
  private pending: PromiseWithResolvers<RewardMessage> | null = null;

  /** Resolves when the reward is ready; throws `reward_unusable` if its graph does not load or compute. */
  static async open(id: string, options: RewardWorkerOptions): Promise<RewardThread> {
    const thread = new RewardThread(id, options);
    const message = await thread.receive();
    if (message.type !== 'failed') return thread;
    await thread.close();
    throw new AttuneError(`reward ${id} cannot score: its graph: ${message.reason}; publish it again`, {
      status: 422,
      code: 'reward_unusable',
    });
  }

  private constructor(id: string, options: RewardWorkerOptions) {
    this.worker = new Worker(new URL('./reward-worker.ts', import.meta.url), {
      name: `reward ${id}`,
      workerData: options,
    });
    this.worker.on('message', (message: RewardMessage) => this.takePending()?.resolve(message));
    this.worker.on('error', (error: Error) => this.end(error.message));
    this.worker.on('exit', (code) => this.end(`it exited with code ${code}`));
  }

  get isAlive(): boolean {
    return this.endReason === null;
  }

  /** Rows of token ids → the reward of each. Throws if they cannot be computed, or if the thread ends. */
  async compute(rows: number[][]): Promise<number[]> {
    this.post(rows);
    const message = await this.receive();
    if (message.type === 'rewards') return message.rewards;
    throw interrupted(message.type === 'failed' ? message.reason : 'internal: it loaded twice');
  }

  async close(): Promise<void> {
    if (this.isAlive) this.post(null);
    await this.ended.promise;
  }

  private post(request: RewardRequest): void {
    this.worker.postMessage(request);
  }

  /** The thread's next message. No handler is added for it: a reward's thread answers for as long as the server runs. */
  private receive(): Promise<RewardMessage> {
    if (this.endReason !== null) return Promise.reject(interrupted(this.endReason));
    this.pending = Promise.withResolvers();
    return this.pending.promise;
  }

  private takePending(): PromiseWithResolvers<RewardMessage> | null {
    const { pending } = this;
    this.pending = null;
    return pending;
  }

  private end(reason: string): void {
    this.endReason ??= reason;
    this.takePending()?.reject(interrupted(this.endReason));
    this.ended.resolve();
  }
}

function interrupted(reason: string): AttuneError {
  return new AttuneError(`reward: it failed to compute: ${reason}; retry the request`, {
    status: 503,
    code: 'reward_interrupted',
  });
}
