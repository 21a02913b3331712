// What every run of the online study shares: the root policy, its prompts and its own responses to the evaluation
// prompts. A response is one paragraph: it ends at a line break as at the end of the text, so that lengths vary.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Architecture } from '../../../shared/model/architecture.ts';
import { readCheckpoint } from '../../../shared/model/checkpoint.ts';
import type { Weights } from '../../../shared/model/tensor.ts';
import { shuffledIndices } from '../../../shared/random.ts';
import { Tokenizer } from '../../../shared/tokenizer/tokenizer.ts';
import type { Engine, Sequence } from '../../../trainer/engine/engine.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { sampleResponses } from '../../../trainer/evaluation/rollouts.ts';
import { makePrompts } from '../../demo/prompts.ts';
import type { OnlineSizes } from './config.ts';

export type PromptTokens = { voting: number[][]; evaluation: number[][] };

const PROMPT_SEED = 1;
/** Responses that are decoded together; their number changes none of them. */
const ROWS = 64;
const ROOT_SEED = 1_000_003;

type Shared = {
  architecture: Architecture;
  weights: Weights;
  tokenizer: Tokenizer;
  prompts: PromptTokens;
  sizes: OnlineSizes;
  threads: number;
  /** For temporary files. */
  folder: string;
};

export class World {
  readonly shared: Shared;
  /** Scores with the root. */
  readonly root: Engine;
  /** The root's responses to the evaluation prompts, which every policy's are compared with. */
  rootSamples: Sequence[] = [];

  private constructor(shared: Shared, root: Engine) {
    this.shared = shared;
    this.root = root;
  }

  /** `checkpoint`: a folder in Hugging Face layout whose policy tells children's stories. */
  static async open(checkpoint: string, sizes: OnlineSizes, threads: number): Promise<World> {
    const { architecture: stored, weights } = await readCheckpoint(checkpoint);
    const tokenizer = await Tokenizer.open(checkpoint);
    const lineBreak = tokenizer.encode('\n', { special: false }).at(-1)!;
    const architecture = { ...stored, eos: [...new Set([...stored.eos, lineBreak])] };
    const { voting, evaluation } = makePrompts(PROMPT_SEED);
    const encode = (text: string) => tokenizer.encode(text);
    const prompts = {
      voting: voting.map(encode),
      evaluation: evaluation.slice(0, sizes.evaluationPrompts).map(encode),
    };
    const root = await openEngine({ architecture, weights: new Map(weights), objective: {}, threads, scoreOnly: true });
    const folder = await mkdtemp(path.join(tmpdir(), 'attune-online-'));
    const world = new World({ architecture, weights, tokenizer, prompts, sizes, threads, folder }, root);
    world.rootSamples = await world.sample(weights, prompts.evaluation, ROOT_SEED);
    return world;
  }

  /** One response to each prompt; the same seed gives two policies the same random numbers. */
  sample(weights: Weights, prompts: readonly number[][], seed: number): Promise<Sequence[]> {
    const { architecture, threads, folder, sizes } = this.shared;
    const requests = prompts.map((promptIds, promptIndex) => ({ promptIds, promptIndex, maxTokens: sizes.maxTokens }));
    // Sampling frees the arrays that it reads.
    const readWeights = async () => structuredClone(weights);
    return sampleResponses({ architecture, readWeights, folder, seed, threads, rows: ROWS }, requests);
  }

  decode({ promptIds, responseIds }: Sequence): string {
    return this.shared.tokenizer.decodeContinuation(promptIds, responseIds);
  }

  async close(): Promise<void> {
    await this.root.close();
    await rm(this.shared.folder, { recursive: true, force: true });
  }
}

/** The voting prompts in the order of a seed: first the held-out ones of every round, then those of each round. */
export function orderPrompts({ shared }: World, seed: number): number[] {
  return shuffledIndices(shared.prompts.voting.length, seed);
}
