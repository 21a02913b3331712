// The messages between the main thread and a reward's worker thread.

export type RewardWorkerOptions = {
  /** The folder of the reward's package. */
  folder: string;
  /** Threads inside one operator. */
  threads: number;
};

/** From the main thread: rows of token ids, each a prompt with its response; null: exit. */
export type RewardRequest = number[][] | null;

/** From the worker: one as it starts, and one for each batch. */
export type RewardMessage =
  /** Loaded, and computes finite rewards. */
  | { type: 'ready' }
  /** One for each row of the batch. */
  | { type: 'rewards'; rewards: number[] }
  | { type: 'failed'; reason: string };
