// Measures a whole round with Attune and Hugging Face's TRL on the same pairs: reference log-probabilities, one epoch, and
// an evaluation of held-out pairs before and after it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { type PeerScript, runTrainingPeer } from './run-training-peer.ts';
import type { Pair, PairText } from './train-pairs.ts';

export type RoundPlan = {
  source: string;
  variant: string;
  threads: number;
  /** A temporary folder that the peer may write to. */
  folder: string;
  pairs: { train: Pair[]; heldOut: Pair[] };
  texts: { train: PairText[]; heldOut: PairText[] };
  batchPairs: number;
  learningRate: number;
};

export type RoundOutcome = {
  /** Since the model was opened. */
  seconds: number;
  /** Loss on held-out pairs. */
  lossBefore: number;
  lossAfter: number;
  loadSeconds: number;
  peakBytes: number;
  otherCores: number;
};

export type RoundPeer = { name: string; program: PeerScript; variant: string };

export type RoundResult = {
  peer: string;
  pairsPerSecond: number;
  seconds: number;
  lossBefore: number;
  lossAfter: number;
  peakMiB: number;
  loadSeconds: number;
  otherCores: number;
};

export async function measureRound(
  peers: RoundPeer[],
  plan: Omit<RoundPlan, 'variant' | 'folder'>,
  options: { stop: AbortSignal; log: (line: string) => void },
): Promise<RoundResult[]> {
  const pairs = plan.pairs.train.length + plan.pairs.heldOut.length;
  const results: RoundResult[] = [];
  for (const { name, program, variant } of peers) {
    options.stop.throwIfAborted();
    options.log(`round of ${name}`);
    const folder = await mkdtemp(path.join(tmpdir(), 'attune-bench-'));
    try {
      const { peakBytes, ...outcome } = await runTrainingPeer<RoundOutcome>(program, { ...plan, variant, folder });
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
  assertSameLosses(results);
  return results;
}

/** Throws AttuneError if the held-out losses of the peers differ before or after training. */
function assertSameLosses(results: RoundResult[]): void {
  const [first] = results;
  for (const { peer, lossBefore, lossAfter } of results) {
    const differs = Math.abs(lossBefore - first!.lossBefore) > 1e-3 || Math.abs(lossAfter - first!.lossAfter) > 1e-2;
    if (differs)
      throw new AttuneError(
        `held-out loss: ${peer} went from ${lossBefore} to ${lossAfter}, ${first!.peer} from ${first!.lossBefore} to ${first!.lossAfter}; the peers do not compute the same and are not comparable`,
      );
  }
}
