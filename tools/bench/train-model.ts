// All that is measured about training one model, printed as it comes.
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import type { Model } from './models.ts';
import { judgeRounds, judgeSteps } from './train-aims.ts';
import { type Ceiling, measureCeiling } from './train-ceiling.ts';
import { drawPairs, readVocabulary, type Vocabulary, writeTexts } from './train-pairs.ts';
import { listLibraries, listRoundPeers, listStepsPeers } from './train-peers.ts';
import { describeCeiling, writeRounds, writeSteps, writeTrainAims } from './train-report.ts';
import { measureRound } from './train-round.ts';
import { drawReferences, measureSteps, responseShareOf } from './train-steps.ts';
import { countWork } from './train-work.ts';

export const PARTS = ['ceiling', 'steps', 'round'] as const;

export type TrainOptions = {
  parts: readonly string[];
  peers: string[];
  /** Of one step. */
  pairs: number;
  roundPairs: number;
  steps: number;
  rounds: number;
  threads: number;
  python: string | null;
  stop: AbortSignal;
  say(line: string): void;
};

const SEED = 1;
/** Small enough that what some steps on random pairs leave behind can be compared. */
const LEARNING_RATE = { steps: 1e-5, round: 1e-6 };
/** TRL's default. */
const ROUND_BATCH = 8;
/** Of a round's pairs. */
const HELD_OUT = 0.25;

export async function measureModel(model: Model, options: TrainOptions) {
  const { parts } = options;
  const vocabulary = await readVocabulary(model.folder);
  console.log(`${model.name}`);
  // What the steps reach is a share of the ceiling.
  const ceiling = parts.includes('ceiling') || parts.includes('steps') ? await showCeiling(model, options) : null;
  const steps = ceiling && parts.includes('steps') ? await showSteps(model, vocabulary, ceiling, options) : null;
  const round = parts.includes('round') ? await showRound(model, vocabulary, options) : null;
  return { model: model.name, ceiling, steps, round };
}

async function showCeiling(model: Model, options: TrainOptions): Promise<Ceiling> {
  options.say(`${model.name}: measuring the ceiling`);
  const pairs = drawPairs(await readVocabulary(model.folder), options.pairs, SEED);
  const architecture = await readArchitecture(model.folder);
  const libraries = listLibraries(options.python);
  const ceiling = await measureCeiling(libraries, architecture, responseShareOf(pairs), options.threads);
  console.log(`${describeCeiling(ceiling)}\n`);
  return ceiling;
}

async function showSteps(model: Model, vocabulary: Vocabulary, ceiling: Ceiling, options: TrainOptions) {
  const { threads } = options;
  const pairs = drawPairs(vocabulary, options.pairs, SEED);
  const work = countWork(await readArchitecture(model.folder), pairs);
  const references = await drawReferences(model, pairs, threads);
  const plan = {
    source: model.folder,
    threads,
    pairs: pairs.map((pair, at) => ({ ...pair, refs: references[at]! })),
    learningRate: LEARNING_RATE.steps,
    warmUp: 1,
    steps: options.steps,
  };
  const results = await measureSteps(listStepsPeers(options.peers, options.python), plan, work, options);
  const aims = judgeSteps(results, ceiling);
  console.log(`Steps of ${pairs.length} pairs, ${work.tokens} tokens, ${options.rounds} rounds`);
  console.log(`${writeSteps(results, work, pairs.length, ceiling)}\n\n${writeTrainAims(aims)}\n`);
  return { pairs: pairs.length, work, results, aims };
}

async function showRound(model: Model, vocabulary: Vocabulary, options: TrainOptions) {
  const pairs = drawPairs(vocabulary, options.roundPairs, SEED);
  const heldOut = Math.max(1, Math.round(HELD_OUT * pairs.length));
  const train = pairs.length - heldOut;
  const split = <Item>(items: Item[]) => ({ train: items.slice(0, train), heldOut: items.slice(train) });
  const plan = {
    source: model.folder,
    threads: options.threads,
    pairs: split(pairs),
    texts: split(writeTexts(vocabulary, pairs)),
    batchPairs: ROUND_BATCH,
    learningRate: LEARNING_RATE.round,
  };
  const results = await measureRound(listRoundPeers(options.peers, options.python), plan, options);
  const aims = judgeRounds(results);
  console.log(`A round of ${train} pairs, ${ROUND_BATCH} a step, and ${heldOut} held out, looked at before and after`);
  console.log(`${writeRounds(results)}\n\n${writeTrainAims(aims)}\n`);
  return { train, heldOut, results, aims };
}
