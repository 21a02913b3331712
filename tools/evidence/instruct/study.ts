// Every run of the study on a real instruct policy, cached one by one. A run trains with the trainer's own loop, then
// measures the test pairs and the policy's own responses.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { hashContent, sha256 } from '../../../shared/digest.ts';
import { readCheckpoint } from '../../../shared/model/checkpoint.ts';
import { Tokenizer } from '../../../shared/tokenizer/tokenizer.ts';
import type { Engine } from '../../../trainer/engine/engine.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { Cache } from '../../bench/cache.ts';
import { findPython, TRAIN_ENV } from '../../bench/python.ts';
import { estimateKl, type KlEstimate } from '../kl.ts';
import { describeMethod, type OnlineMethod, toObjective } from '../online/config.ts';
import type { ResultCache } from '../result-cache.ts';
import type { InstructConfig } from './config.ts';
import { readInstructPairs } from './pairs.ts';
import { addReference, type PairLogps, scorePairs, scoreTokens, sumReference } from './scored-pairs.ts';
import { type InstructOptions, trainEpoch, trainWithTrl } from './train-epoch.ts';

export type InstructRun = {
  /** The method, or TRL's DPOTrainer. */
  name: string;
  learningRate: number;
  seconds: number;
  validation: PairLogps;
  test: PairLogps;
  kl: KlEstimate;
};

export type InstructStudy = {
  policy: string;
  config: InstructConfig;
  counts: { read: number; train: number; validation: number; test: number };
  /** The policy before the round. */
  before: { validation: PairLogps; test: PairLogps };
  /** The prompt of each pair, by which intervals resample. */
  prompts: { validation: string[]; test: string[] };
  runs: InstructRun[];
  missing: string[];
};

export const TRL = 'TRL DPOTrainer, β 0.1';

export async function runInstructStudy(
  cache: ResultCache,
  config: InstructConfig,
  options: InstructOptions,
  log: (line: string) => void,
): Promise<InstructStudy> {
  const { checkpoint, threads } = options;
  const { architecture } = await readCheckpoint(checkpoint);
  const tokenizer = await Tokenizer.open(checkpoint);
  const splits = await readInstructPairs(options.pairs, tokenizer, architecture, config);
  const { methods: _methods, learningRates: _rates, ...shared } = config;
  const digest = sha256(await readFile(path.join(checkpoint, 'model.safetensors')));
  const cacheKey = [digest, hashContent([splits.train, splits.validation, splits.test]), shared];
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-evidence-'));
  const openPolicy = (weights: string, method?: OnlineMethod) =>
    openEngine({ architecture, weights, objective: method ? toObjective(method) : {}, threads, scoreOnly: !method });
  try {
    const scores = await cache.getOrCompute('instruct scores', cacheKey, async () => {
      log('Scoring all pairs with the policy');
      const engine = await openPolicy(checkpoint);
      try {
        return await scoreTokens(engine, [...splits.train, ...splits.validation, ...splits.test]);
      } finally {
        await engine.close();
      }
    });
    if (!scores) throw new Error('internal: evidence: a read-only cache has no scores of the policy');
    const scored = addReference(splits, scores);
    const study: InstructStudy = {
      policy: path.basename(checkpoint),
      config,
      counts: {
        read: splits.read,
        train: splits.train.length,
        validation: splits.validation.length,
        test: splits.test.length,
      },
      before: { validation: sumReference(scored.validation), test: sumReference(scored.test) },
      prompts: {
        validation: splits.validation.map(({ text }) => text.prompt),
        test: splits.test.map(({ text }) => text.prompt),
      },
      runs: [],
      missing: [],
    };
    const measure = async (engine: Engine) => {
      const reference = await openPolicy(checkpoint);
      try {
        const { samples, maxTokens } = config.rollouts;
        const prompts = Array.from(
          { length: samples },
          (_, i) => splits.test[i % splits.test.length]!.chosen.promptIds,
        );
        return {
          validation: await scorePairs(engine, splits.validation),
          test: await scorePairs(engine, splits.test),
          kl: await estimateKl(engine, reference, architecture, prompts, { maxTokens, seed: config.seed }),
        };
      } finally {
        await reference.close();
      }
    };
    const trainers = [
      ...config.methods.map((method) => ({
        name: describeMethod(method),
        train: async (learningRate: number) => {
          const engine = await openPolicy(checkpoint, method);
          try {
            const seconds = await trainEpoch(engine, method, learningRate, scored, config, folder, log);
            return { seconds, ...(await measure(engine)) };
          } finally {
            await engine.close();
          }
        },
      })),
      {
        name: TRL,
        train: async (learningRate: number) => {
          const saved = await mkdtemp(path.join(folder, 'trl-'));
          const { seconds } = await trainWithTrl(splits.train, learningRate, config, options, saved);
          const engine = await openPolicy(saved);
          try {
            return { seconds, ...(await measure(engine)) };
          } finally {
            await engine.close();
            await rm(saved, { recursive: true, force: true });
          }
        },
      },
    ];
    for (const learningRate of config.learningRates)
      for (const { name, train } of trainers) {
        if (name === TRL && !findPython(new Cache(options.benchCache, log), TRAIN_ENV)) {
          log(`*** ${TRL} is NOT measured: \`npm run bench:train -- --setup\` installs it ***`);
          study.missing.push(`${name}, ${learningRate}`);
          continue;
        }
        const result = await cache.getOrCompute(`instruct ${name} ${learningRate}`, cacheKey, async () => {
          log(`${name}, learning rate ${learningRate}`);
          return train(learningRate);
        });
        if (result) study.runs.push({ name, learningRate, ...result });
        else study.missing.push(`${name}, ${learningRate}`);
      }
    return study;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
