// The process side of a peer: one process per measurement, so that peak memory and threads are its own. It receives one
// plan, loads, warms up, runs once, reports and exits; or it measures its accuracy. Serving peers use IPC, training peers
// stdin and stdout.
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { readProcessMemory } from '../../../testing/process-memory.ts';
import type { Accuracy, LogitsPeer } from '../accuracy.ts';

export type Batch = { prompts: number[][]; tokens: number };

export type Plan = {
  /** The file or folder that this peer loads. */
  source: string;
  /** Precision, dtype or GGUF type, in the peer's terms. */
  variant: string;
  threads: number;
  /** What the keys and values of the batch take in Attune, whose default limit is for shorter contexts. */
  kvBytes: number;
  warmUp: Batch | null;
  batch: Batch;
};

export type AccuracyPlan = Pick<Plan, 'source' | 'variant' | 'threads'> & {
  /** The folder with sequences and their logits at float32. */
  reference: string;
};

/** One generation; times are milliseconds since the batch was started. */
export type TokenStream = { tokenTimesMs: number[]; tokenIds: number[] };

/** Attune's KV_MEMORY for the batch: the default, unless it holds fewer rows. */
export function chooseKvMemory(kvBytes: number): number {
  return Math.max(2 ** 30, kvBytes);
}

export type Outcome = {
  streams: TokenStream[];
  loadSeconds: number;
  peakBytes: number;
  /** Cores that other processes used meanwhile. */
  otherCores: number;
};

export type Peer = {
  /** Starts all prompts at once and resolves when each has `batch.tokens` greedy tokens. */
  generate(batch: Batch): Promise<TokenStream[]>;
  /** The process that computes, if it is not this one. */
  pid?: number;
  close(): Promise<void>;
};

/** `maxLength`: tokens of the longest sequence. */
type OpenLogits = (plan: AccuracyPlan, maxLength: number) => Promise<LogitsPeer>;

export type PeerMessage = { outcome: Outcome | Accuracy } | { failure: string };

export function handleServingPlan(open: (plan: Plan) => Promise<Peer>, openLogits?: OpenLogits): void {
  // The channel closes when the parent dies; a benchmark must leave no process behind.
  process.once('disconnect', () => process.exit(1));
  process.once('message', (plan: Plan | AccuracyPlan) => {
    const outcome = 'batch' in plan ? run(open, plan) : compare(openLogits!, plan);
    outcome.then(
      (outcome) => sendAndExit({ outcome }),
      (error: unknown) =>
        sendAndExit({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
}

async function run(open: (plan: Plan) => Promise<Peer>, plan: Plan): Promise<Outcome> {
  const peer = await open(plan);
  // Since the process started.
  const loadSeconds = performance.now() / 1000;
  try {
    if (plan.warmUp) await peer.generate(plan.warmUp);
    const stopMeasuring = measureOtherCores(peer.pid ? [process.pid, peer.pid] : [process.pid]);
    const streams = await peer.generate(plan.batch);
    const otherCores = stopMeasuring();
    for (const { tokenTimesMs } of streams) {
      if (tokenTimesMs.length !== plan.batch.tokens)
        throw new Error(`a generation has ${tokenTimesMs.length} tokens, expected ${plan.batch.tokens}`);
    }
    return { streams, loadSeconds, peakBytes: await readProcessMemory('VmHWM', peer.pid ?? process.pid), otherCores };
  } finally {
    await peer.close();
  }
}

async function compare(openLogits: OpenLogits, plan: AccuracyPlan): Promise<Accuracy> {
  // Imported here, because what it loads would count as the memory of a measured process.
  const { measureAccuracy } = await import('../accuracy.ts');
  return measureAccuracy(plan.reference, (maxLength) => openLogits(plan, maxLength));
}

function sendAndExit(message: PeerMessage): void {
  process.send!(message, () => process.exit(0));
}

/** Runs `work` on the plan from stdin and writes its outcome with the peak memory to stdout. */
export function handleTrainingPlan<Plan>(work: (plan: Plan) => Promise<object>): void {
  const lines = createInterface({ input: process.stdin });
  // Stdin closes when the parent dies; a benchmark must leave no process behind.
  lines.once('close', () => process.exit(1));
  lines.once('line', async (line) => {
    const outcome = await work(JSON.parse(line));
    const output = JSON.stringify({ ...outcome, peakBytes: await readProcessMemory('VmHWM') });
    process.stdout.write(output, () => process.exit(0));
  });
}

/** USER_HZ of /proc, which is 100 on all platforms that Node supports. */
const TICKS_PER_SECOND = 100;
/** In a shorter interval one clock tick would count as other processes' work. */
const MIN_SECONDS = 0.3;

/**
 * Starts measuring; the returned function stops and returns the cores used by all processes except `pids`. Matters because
 * threads that spin while they wait for each other stall when one of them loses its core.
 */
export function measureOtherCores(pids: number[]): () => number {
  const begin = readTimes(pids);
  return () => {
    const end = readTimes(pids);
    const seconds = (end.all - begin.all) / cpus().length;
    return seconds > MIN_SECONDS ? Math.max(0, (end.busy - begin.busy - (end.own - begin.own)) / seconds) : 0;
  };
}

/** Seconds, summed over all cores, and of the processes `pids`. */
function readTimes(pids: number[]): { busy: number; all: number; own: number } {
  const times = { busy: 0, all: 0, own: 0 };
  for (const { times: core } of cpus()) {
    const busy = core.user + core.nice + core.sys + core.irq;
    times.busy += busy / 1000;
    times.all += (busy + core.idle) / 1000;
  }
  for (const pid of pids) times.own += readProcessSeconds(pid);
  return times;
}

function readProcessSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may contain spaces; fields 11 and 12 after it are user and system ticks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
