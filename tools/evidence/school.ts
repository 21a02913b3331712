// What the runs on real preferences share, made when the first of them needs it and kept for the next time: the
// reference, prepared and scoring, the pairs with its log-probabilities, and the engine of the objective at hand, whose
// traced graphs serve all its runs. Only one such engine is open at a time: five of them took 16 GB.
import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import type { Checkpoint } from '../../shared/model/checkpoint.ts';
import { readSafetensors, type Weights, writeSafetensors } from '../../shared/model/safetensors.ts';
import { DEFAULT_CHECKPOINT } from '../../shared/publish/convert-llama2c.ts';
import type { Engine, TrainPair } from '../../trainer/engine/engine.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import { learningRateAt, shuffle } from '../../trainer/stages/lr-schedule.ts';
import { openProgress } from '../demo/progress.ts';
import type { Archive } from './archive.ts';
import type { Material, TokenPair } from './pairs.ts';
import type { Contender, StudyPlan } from './plan.ts';
import { SCHEDULE } from './study.ts';

export type Lesson = {
  /** At the reference's weights, AdamW's memory empty. */
  engine: Engine;
  /** Only scores. */
  reference: Engine;
  pairs: { train: TrainPair[]; heldOut: TrainPair[] };
};

export class School {
  private readonly checkpoint: Checkpoint;
  private readonly material: Material;
  private readonly plan: StudyPlan;
  private readonly archive: Archive;
  private readonly folder: string;
  private readonly log: (line: string) => void;
  private opened: Promise<{ weights: Weights } & Omit<Lesson, 'engine'>> | null = null;
  /** What the reference and its scores depend on. */
  private readonly decisive: unknown[];
  private current: { name: string; engine: Engine } | null = null;

  /** `folder` takes the state that every run begins with. */
  constructor(
    checkpoint: Checkpoint,
    material: Material,
    plan: StudyPlan,
    archive: Archive,
    folder: string,
    log: (line: string) => void,
  ) {
    this.checkpoint = checkpoint;
    this.material = material;
    this.plan = plan;
    this.archive = archive;
    this.decisive = [DEFAULT_CHECKPOINT.source, material.digest, plan.prepareRate, plan.batchPairs];
    this.folder = folder;
    this.log = log;
  }

  async begin({ name, objective }: Contender): Promise<Lesson> {
    this.opened ??= this.open();
    const { weights, reference, pairs } = await this.opened;
    const beginning = path.join(this.folder, 'beginning.safetensors');
    if (this.current?.name === name) await this.current.engine.restore(beginning);
    else {
      await this.current?.engine.close();
      this.current = null;
      const { architecture } = this.checkpoint;
      this.current = { name, engine: await openEngine({ architecture, weights, objective }) };
      await this.current.engine.save(beginning);
    }
    return { engine: this.current.engine, reference, pairs };
  }

  async close(): Promise<void> {
    await this.current?.engine.close();
    await (await this.opened)?.reference.close();
  }

  private async open(): Promise<{ weights: Weights } & Omit<Lesson, 'engine'>> {
    const { architecture } = this.checkpoint;
    const weights = await this.prepareOnce();
    const reference = await openEngine({ architecture, weights, objective: {} });
    const { train, heldOut } = this.material;
    const all = [...train, ...heldOut];
    const scores = await this.archive.recall('scores of the reference', this.decisive, async () => {
      this.log('Scoring all pairs by the reference');
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

  private async prepareOnce(): Promise<Weights> {
    const file = await this.archive.fileOf('reference', this.decisive, 'safetensors');
    if (existsSync(file)) return readSafetensors(file);
    const weights = await this.prepare();
    await mkdir(path.dirname(file), { recursive: true });
    await writeSafetensors(`${file}.partial`, weights);
    await rename(`${file}.partial`, file);
    return weights;
  }

  /** One epoch of cloning the chosen responses of pairs that no run trains on. */
  private async prepare(): Promise<Weights> {
    const { batchPairs, prepareRate } = this.plan;
    const pairs = this.material.prepare;
    const steps = Math.ceil(pairs.length / batchPairs);
    const order = shuffle(pairs.length, 0);
    const engine = await openEngine({ ...this.checkpoint, objective: { objective: 'sft' } });
    const bar = openProgress('preparing the reference', 'steps', steps, this.log);
    try {
      for (let step = 0; step < steps; step++) {
        const batch = order.slice(step * batchPairs, (step + 1) * batchPairs).map((at) => pairs[at]!);
        const rate = learningRateAt(step, steps, { learning_rate: prepareRate, ...SCHEDULE });
        // Cloning looks at no log-ratio.
        const { loss } = await engine.step(batch.map(withoutReference), rate);
        bar.set(step + 1, `loss ${loss.toFixed(3)}`);
      }
      return await engine.weights();
    } finally {
      bar.stop();
      await engine.close();
    }
  }
}

function withoutReference(pair: TokenPair): TrainPair {
  return {
    ...pair,
    refChosenLogps: new Float32Array(pair.chosen.responseIds.length),
    refRejectedLogps: new Float32Array(pair.rejected.responseIds.length),
  };
}
