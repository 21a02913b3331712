// The main thread's side of a reward's worker thread, which computes one batch at a time.
import { Worker } from 'node:worker_threads';
import { AttuneError } from '../../shared/error.ts';
import type { RewardMessage, RewardRequest, RewardWorkerOptions } from './reward-protocol.ts';

export class RewardThread {
  private readonly worker: Worker;
  /** Resolves when the thread has ended, with the reason. */
  private readonly ended: Promise<string>;
  private hasEnded = false;

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
    this.ended = new Promise((end) => {
      this.worker.on('error', (error: Error) => end(error.message));
      this.worker.on('exit', (code) => end(`it exited with code ${code}`));
    });
    void this.ended.then(() => {
      this.hasEnded = true;
    });
  }

  get isAlive(): boolean {
    return !this.hasEnded;
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
    await this.ended;
  }

  private post(request: RewardRequest): void {
    this.worker.postMessage(request);
  }

  private async receive(): Promise<RewardMessage> {
    const { promise, resolve } = Promise.withResolvers<RewardMessage>();
    this.worker.once('message', resolve);
    return Promise.race([promise, this.ended.then((reason) => Promise.reject(interrupted(reason)))]);
  }
}

function interrupted(reason: string): AttuneError {
  return new AttuneError(`reward: it failed to compute: ${reason}; retry the request`, {
    status: 503,
    code: 'reward_interrupted',
  });
}
