// What all runs on real preferences share, created on first use and cached: the fine-tuned reference, its
// log-probabilities of all pairs, and an engine per method, whose traced graphs serve every run of that method. Only one
// such engine is open at a time: five took 16 GB.
import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import type { Checkpoint } from '../../shared/model/checkpoint.ts';
import { readSafetensors, writeSafetensors } from '../../shared/model/safetensors.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { DEFAULT_CHECKPOINT } from '../../shared/publish/convert-llama2c.ts';
import { shuffledIndices } from '../../shared/random.ts';
import type { Engine, TrainPair } from '../../trainer/engine/engine.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import { learningRateAt } from '../../trainer/stages/lr-schedule.ts';
import { openProgress } from '../report/progress.ts';
import type { Method, PreferenceStudyConfig } from './config.ts';
import type { PairSplits, TokenPair } from './pairs.ts';
import type { ResultCache } from './result-cache.ts';
import { SCHEDULE } from './training-run.ts';

export type RunInputs = {
  /** At the reference's weights, with an empty AdamW state. */
  engine: Engine;
  /** For scoring only. */
  reference: Engine;
  pairs: { train: TrainPair[]; heldOut: TrainPair[] };
};

type SharedInputs = Omit<RunInputs, 'engine'> & { weights: Weights };

export class StudySetup {
  private readonly checkpoint: Checkpoint;
  private readonly splits: PairSplits;
  private readonly config: PreferenceStudyConfig;
  private readonly cache: ResultCache;
  private readonly folder: string;
  private readonly log: (line: string) => void;
  private shared: Promise<SharedInputs> | null = null;
  /** All inputs of the reference and its scores. */
  private readonly cacheKey: unknown[];
  private current: { name: string; engine: Engine } | null = null;

  /** The initial training state of every run is saved in `folder`. */
  constructor(
    checkpoint: Checkpoint,
    splits: PairSplits,
    config: PreferenceStudyConfig,
    cache: ResultCache,
    folder: string,
    log: (line: string) => void,
  ) {
    this.checkpoint = checkpoint;
    this.splits = splits;
    this.config = config;
    this.cache = cache;
    this.cacheKey = [DEFAULT_CHECKPOINT.source, splits.digest, config.warmUpLearningRate, config.batchPairs];
    this.folder = folder;
    this.log = log;
  }

  async prepareRun({ name, objective }: Method): Promise<RunInputs> {
    this.shared ??= this.openShared();
    const { weights, reference, pairs } = await this.shared;
    const initialState = path.join(this.folder, 'initial.safetensors');
    if (this.current?.name === name) await this.current.engine.restore(initialState);
    else {
      await this.current?.engine.close();
      this.current = null;
      const { architecture } = this.checkpoint;
      this.current = { name, engine: await openEngine({ architecture, weights, objective }) };
      await this.current.engine.save(initialState);
    }
    return { engine: this.current.engine, reference, pairs };
  }

  async close(): Promise<void> {
    await this.current?.engine.close();
    await (await this.shared)?.reference.close();
  }

  private async openShared(): Promise<SharedInputs> {
    const { architecture } = this.checkpoint;
    const weights = await this.getReferenceWeights();
    const reference = await openEngine({ architecture, weights, objective: {} });
    const { train, heldOut } = this.splits;
    const all = [...train, ...heldOut];
    const scores = await this.cache.getOrCompute('scores of the reference', this.cacheKey, async () => {
      this.log('Scoring all pairs with the reference');
      const logps = await reference.score(all.flatMap(({ chosen, rejected }) => [chosen, rejected]));
      return logps.map((each) => Array.from(each));
    });
    const scored = all.map((pair, i) => ({
      ...pair,
      refChosenLogps: Float32Array.from(scores![2 * i]!),
      refRejectedLogps: Float32Array.from(scores![2 * i + 1]!),
    }));
    return { weights, reference, pairs: { train: scored.slice(0, train.length), heldOut: scored.slice(train.length) } };
  }

  private async getReferenceWeights(): Promise<Weights> {
    const file = this.cache.pathFor('reference', this.cacheKey, 'safetensors');
    if (existsSync(file)) return readSafetensors(file);
    const weights = await this.trainReference();
    await mkdir(path.dirname(file), { recursive: true });
    await writeSafetensors(`${file}.partial`, weights);
    await rename(`${file}.partial`, file);
    return weights;
  }

  /** One epoch of SFT on the chosen responses of pairs that no run trains on. */
  private async trainReference(): Promise<Weights> {
    const { batchPairs, warmUpLearningRate } = this.config;
    const pairs = this.splits.warmUp;
    const steps = Math.ceil(pairs.length / batchPairs);
    const order = shuffledIndices(pairs.length, 0);
    const engine = await openEngine({ ...this.checkpoint, objective: { objective: 'sft' } });
    const bar = openProgress('fine-tuning the reference', 'steps', steps, this.log);
    try {
      for (let step = 0; step < steps; step++) {
        const batch = order.slice(step * batchPairs, (step + 1) * batchPairs).map((index) => pairs[index]!);
        const learningRate = learningRateAt(step, steps, { learning_rate: warmUpLearningRate, ...SCHEDULE });
        const { loss } = await engine.step(batch.map(withZeroReference), learningRate);
        bar.set(step + 1, `loss ${loss.toFixed(3)}`);
      }
      return await engine.weights();
    } finally {
      bar.stop();
      await engine.close();
    }
  }
}

/** SFT does not use the reference's log-probabilities. */
function withZeroReference(pair: TokenPair): TrainPair {
  return {
    ...pair,
    refChosenLogps: new Float32Array(pair.chosen.responseIds.length),
    refRejectedLogps: new Float32Array(pair.rejected.responseIds.length),
  };
}
