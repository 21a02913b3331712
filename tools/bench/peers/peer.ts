// What every peer's process does: takes one plan from its parent, loads, warms up, runs the case once, tells, ends. One
// process for each measurement, so that its peak memory and its threads are its own. It measures nothing but itself.
import { readFile } from 'node:fs/promises';
import { watchOthers } from './others.ts';

export type Batch = { prompts: number[][]; tokens: number };

export type Plan = {
  /** The file or folder that this peer loads. */
  source: string;
  /** Precision, dtype or type, in the peer's own words. */
  variant: string;
  threads: number;
  warmUp: Batch | null;
  batch: Batch;
};

/** One generation: when each of its tokens came, in milliseconds after all were asked for. */
export type Stream = { marks: number[]; tokenIds: number[] };

export type Outcome = {
  streams: Stream[];
  loadSeconds: number;
  peakBytes: number;
  /** Cores that others kept busy meanwhile. */
  others: number;
};

export type Peer = {
  /** Starts all prompts together and resolves when each has its tokens, greedily chosen. */
  generate(batch: Batch): Promise<Stream[]>;
  /** The process that does the work, where that is not this one. */
  pid?: number;
  close(): Promise<void>;
};

export type FromPeer = { outcome: Outcome } | { failure: string };

export function servePeer(open: (plan: Plan) => Promise<Peer>): void {
  // The parent's death closes the channel; a benchmark must leave nothing running.
  process.once('disconnect', () => process.exit(1));
  process.once('message', (plan: Plan) => {
    run(open, plan).then(
      (outcome) => finish({ outcome }),
      (error: unknown) => finish({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
}

async function run(open: (plan: Plan) => Promise<Peer>, plan: Plan): Promise<Outcome> {
  const peer = await open(plan);
  // Since the process began: what someone waits who starts it.
  const loadSeconds = performance.now() / 1000;
  try {
    if (plan.warmUp) await peer.generate(plan.warmUp);
    const endWatch = watchOthers(peer.pid ? [process.pid, peer.pid] : [process.pid]);
    const streams = await peer.generate(plan.batch);
    const others = endWatch();
    for (const { marks } of streams) {
      if (marks.length !== plan.batch.tokens)
        throw new Error(`a generation has ${marks.length} tokens, ${plan.batch.tokens} were asked for`);
    }
    return { streams, loadSeconds, peakBytes: await readPeak(peer.pid ?? process.pid), others };
  } finally {
    await peer.close();
  }
}

function finish(message: FromPeer): void {
  process.send!(message, () => process.exit(0));
}

/** The most memory that the process ever held at once. */
export async function readPeak(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
