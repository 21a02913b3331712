// One reward: queues what is to be scored and computes it a batch at a time in its worker thread. Callers take turns between
// batches, and what a caller no longer waits for is not computed. A thread that ends is replaced by the next batch.
import type { Architecture } from '../../shared/model/architecture.ts';
import { type AdmissionLimits, type Places, validatePlaces } from './admission.ts';
import { FairQueue } from './fair-queue.ts';
import type { LoadedReward, ScoreWaiter } from './inference.ts';
import { serverClosing } from './policy-errors.ts';
import { RewardThread } from './reward-thread.ts';

export type RewardRunnerOptions = AdmissionLimits & { threads: number; kvMemoryBytes: number; closing: AbortSignal };

/** Of a batch of several rows, padding included: efficient, and short enough that callers take turns. */
const MAX_BATCH_TOKENS = 512;

type Job = { tenant: string; rows: number[][]; rewards: number[]; settle(result: number[] | Error): void };

export class RewardRunner implements LoadedReward {
  readonly id: string;
  readonly architecture: Architecture;
  readonly kvMemoryBytes: number;
  private readonly folder: string;
  private readonly options: RewardRunnerOptions;
  private readonly queue = new FairQueue<Job>();
  /** Waiting or running. */
  private readonly jobs = new Set<Job>();
  private thread: RewardThread | null = null;
  private running: Promise<void> | null = null;
  private isRetired = false;

  constructor(id: string, folder: string, architecture: Architecture, options: RewardRunnerOptions) {
    this.id = id;
    this.folder = folder;
    this.architecture = architecture;
    this.kvMemoryBytes = options.kvMemoryBytes;
    this.options = options;
  }

  score(rows: number[][], { tenant = '', signal, isAdmitted }: ScoreWaiter): Promise<number[]> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.options.closing.aborted) throw serverClosing();
      if (!isAdmitted) validatePlaces(this.countPlaces(tenant, rows.length), this.options);
      const abort = () => job.settle(signal!.reason as Error);
      const job: Job = {
        tenant,
        rows,
        rewards: [],
        settle: (result) => {
          signal?.removeEventListener('abort', abort);
          this.queue.remove((other) => other === job);
          this.jobs.delete(job);
          // Nothing is left to compute.
          job.rows = [];
          if (result instanceof Error) reject(result);
          else resolve(result);
        },
      };
      signal?.addEventListener('abort', abort);
      this.jobs.add(job);
      this.queue.push(tenant, job);
      this.running ??= this.run();
    });
  }

  /** Loads the graph. Throws `reward_unusable` if it does not load or compute. */
  async load(): Promise<RewardThread> {
    if (this.thread?.isAlive) return this.thread;
    this.thread = await RewardThread.open(this.id, { folder: this.folder, threads: this.options.threads });
    return this.thread;
  }

  /** Ends the thread once nothing is left to score. */
  async retire(): Promise<void> {
    this.isRetired = true;
    await (this.running ?? this.closeThread());
  }

  /** A row takes a place, as a response that a policy scores does. */
  private countPlaces(tenant: string, added: number): Places {
    const places = { held: 0, own: 0, added };
    for (const { tenant: other, rows } of this.jobs) {
      places.held += rows.length;
      if (other === tenant) places.own += rows.length;
    }
    return places;
  }

  private async run(): Promise<void> {
    for (let job = this.queue.shift(); job; job = this.queue.shift()) await this.runBatch(job);
    this.running = null;
    if (this.isRetired) await this.closeThread();
  }

  /** The next rows of a job, which then takes its place behind the others. */
  private async runBatch(job: Job): Promise<void> {
    try {
      if (this.options.closing.aborted) throw serverClosing();
      const thread = await this.load();
      const { rows, rewards } = job;
      const end = findBatchEnd(rows, rewards.length);
      rewards.push(...(await thread.compute(rows.slice(rewards.length, end))));
      if (end === rows.length) job.settle(rewards);
      else if (job.rows.length > 0) this.queue.push(job.tenant, job);
    } catch (error) {
      job.settle(error as Error);
    }
  }

  private async closeThread(): Promise<void> {
    const { thread } = this;
    this.thread = null;
    await thread?.close();
  }
}

/** At least one row, and as many as have at most MAX_BATCH_TOKENS, each padded to the longest. */
function findBatchEnd(rows: number[][], start: number): number {
  let end = start + 1;
  for (let longest = rows[start]!.length; end < rows.length; end++) {
    longest = Math.max(longest, rows[end]!.length);
    if ((end + 1 - start) * longest > MAX_BATCH_TOKENS) break;
  }
  return end;
}
