// A whole round by Attune and by Hugging Face's TRL over the same pairs: the reference's log-probabilities, one epoch, and
// a look at the held-out pairs before and after it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import type { Pair, PairText } from './train-pairs.ts';
import { type Program, runProgram } from './train-program.ts';

export type RoundPlan = {
  source: string;
  variant: string;
  threads: number;
  /** Where a peer may write. */
  folder: string;
  pairs: { train: Pair[]; heldOut: Pair[] };
  texts: { train: PairText[]; heldOut: PairText[] };
  batchPairs: number;
  learningRate: number;
};

export type RoundOutcome = {
  /** From opening the model on. */
  seconds: number;
  /** Loss on held-out pairs. */
  before: number;
  after: number;
  loadSeconds: number;
  peakBytes: number;
  others: number;
};

export type RoundPeer = { name: string; program: Program; variant: string };

export type RoundResult = {
  peer: string;
  pairsPerSecond: number;
  seconds: number;
  before: number;
  after: number;
  peakMiB: number;
  loadSeconds: number;
  others: number;
};

export async function measureRound(
  peers: RoundPeer[],
  plan: Omit<RoundPlan, 'variant' | 'folder'>,
  options: { stop: AbortSignal; say: (line: string) => void },
): Promise<RoundResult[]> {
  const pairs = plan.pairs.train.length + plan.pairs.heldOut.length;
  const results: RoundResult[] = [];
  for (const { name, program, variant } of peers) {
    options.stop.throwIfAborted();
    options.say(`a whole round of ${name}`);
    const folder = await mkdtemp(path.join(tmpdir(), 'attune-bench-'));
    try {
      const { peakBytes, ...outcome } = await runProgram<RoundOutcome>(program, { ...plan, variant, folder });
      results.push({
        peer: name,
        pairsPerSecond: pairs / outcome.seconds,
        ...outcome,
        peakMiB: peakBytes / 2 ** 20,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  checkSameRound(results);
  return results;
}

/** Throws where the peers did not see the same pairs or did not learn the same from them. */
export function checkSameRound(results: RoundResult[]): void {
  const [first] = results;
  for (const { peer, before, after } of results) {
    const far = Math.abs(before - first!.before) > 1e-3 || Math.abs(after - first!.after) > 1e-2;
    if (far)
      throw new AttuneError(
        `held-out loss: ${peer} went from ${before} to ${after}, ${first!.peer} from ${first!.before} to ${first!.after}; they do not do the same, so they are no peers`,
      );
  }
}
