// Benchmarks training of one model and prints each table as soon as it is complete.
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import type { Model } from './models.ts';
import { formatPeakFlops, formatRounds, formatSteps, formatTrainTargets } from './report.ts';
import { countWork } from './train-flops.ts';
import { randomPairs, readVocabulary, toTexts, type Vocabulary } from './train-pairs.ts';
import { measurePeakFlops, type PeakFlops } from './train-peak-flops.ts';
import { matmulLibraries, selectRoundPeers, selectStepPeers } from './train-peers.ts';
import { measureRound } from './train-round.ts';
import { measureSteps, noisyReferences, responseShare } from './train-steps.ts';
import { evaluateRoundTargets, evaluateStepTargets } from './train-targets.ts';

export const PARTS = ['peak', 'steps', 'round'] as const;

export type TrainOptions = {
  parts: readonly string[];
  peers: string[];
  /** Pairs per step. */
  pairs: number;
  roundPairs: number;
  steps: number;
  rounds: number;
  threads: number;
  python: string | null;
  stop: AbortSignal;
  log(line: string): void;
};

const SEED = 1;
/** Small, so that the losses after steps on random pairs stay comparable. */
const LEARNING_RATE = { steps: 1e-5, round: 1e-6 };
/** TRL's default batch size. */
const ROUND_BATCH_PAIRS = 8;
/** Share of a round's pairs. */
const HELD_OUT_SHARE = 0.25;

export async function benchmarkModel(model: Model, options: TrainOptions) {
  const { parts } = options;
  const vocabulary = await readVocabulary(model.folder);
  console.log(`${model.name}`);
  // MFU of steps is relative to the peak.
  const peak = parts.includes('peak') || parts.includes('steps') ? await benchmarkPeakFlops(model, options) : null;
  const steps = peak && parts.includes('steps') ? await benchmarkSteps(model, vocabulary, peak, options) : null;
  const round = parts.includes('round') ? await benchmarkRound(model, vocabulary, options) : null;
  return { model: model.name, peak, steps, round };
}

async function benchmarkPeakFlops(model: Model, options: TrainOptions): Promise<PeakFlops> {
  options.log(`${model.name}: measuring the peak matmul rate`);
  const pairs = randomPairs(await readVocabulary(model.folder), options.pairs, SEED);
  const architecture = await readArchitecture(model.folder);
  const libraries = matmulLibraries(options.python);
  const peak = await measurePeakFlops(libraries, architecture, responseShare(pairs), options.threads);
  console.log(`${formatPeakFlops(peak)}\n`);
  return peak;
}

async function benchmarkSteps(model: Model, vocabulary: Vocabulary, peak: PeakFlops, options: TrainOptions) {
  const { threads } = options;
  const pairs = randomPairs(vocabulary, options.pairs, SEED);
  const work = countWork(await readArchitecture(model.folder), pairs);
  const references = await noisyReferences(model, pairs, threads);
  const plan = {
    source: model.folder,
    threads,
    pairs: pairs.map((pair, at) => ({ ...pair, refs: references[at]! })),
    learningRate: LEARNING_RATE.steps,
    warmUp: 1,
    steps: options.steps,
  };
  const results = await measureSteps(selectStepPeers(options.peers, options.python), plan, work, options);
  const targets = evaluateStepTargets(results, peak);
  console.log(`Steps of ${pairs.length} pairs, ${work.tokens} tokens, ${options.rounds} rounds`);
  console.log(`${formatSteps(results, work, pairs.length, peak)}\n\n${formatTrainTargets(targets)}\n`);
  return { pairs: pairs.length, work, results, targets };
}

async function benchmarkRound(model: Model, vocabulary: Vocabulary, options: TrainOptions) {
  const pairs = randomPairs(vocabulary, options.roundPairs, SEED);
  const heldOut = Math.max(1, Math.round(HELD_OUT_SHARE * pairs.length));
  const train = pairs.length - heldOut;
  const split = <Item>(items: Item[]) => ({ train: items.slice(0, train), heldOut: items.slice(train) });
  const plan = {
    source: model.folder,
    threads: options.threads,
    pairs: split(pairs),
    texts: split(toTexts(vocabulary, pairs)),
    batchPairs: ROUND_BATCH_PAIRS,
    learningRate: LEARNING_RATE.round,
  };
  const results = await measureRound(selectRoundPeers(options.peers, options.python), plan, options);
  const targets = evaluateRoundTargets(results);
  console.log(
    `A round of ${train} pairs, ${ROUND_BATCH_PAIRS} per step, with ${heldOut} held-out pairs evaluated before and after`,
  );
  console.log(`${formatRounds(results)}\n\n${formatTrainTargets(targets)}\n`);
  return { train, heldOut, results, targets };
}
