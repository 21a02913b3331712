// The small checkpoints that golden.py runs in transformers, and what came out, for tests to be held against.
// Run with a folder it writes them there; golden.py says how.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TinyOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

const scaledRope = { type: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 64 };

export const GOLDEN_SEED = 11;

/** One or more of each family, each with what sets it apart from the others. */
export const GOLDEN_CASES: Record<string, TinyOptions> = {
  'llama-tied': { family: 'llama', tied: true },
  'llama-untied': { family: 'llama', tied: false, headDim: 10 },
  'llama-biases': { family: 'llama', tied: false, variant: { biases: { qkv: true, output: true, mlp: true } } },
  'llama-rope-llama3': { family: 'llama', variant: { ropeScaling: { ...scaledRope, type: 'llama3' } } },
  'llama-rope-linear': { family: 'llama', variant: { ropeScaling: { type: 'linear', factor: 3 } } },
  mistral: { family: 'mistral', tied: false },
  'qwen2-tied': { family: 'qwen2', tied: true },
  'qwen2-untied': { family: 'qwen2', tied: false },
  qwen3: { family: 'qwen3', tied: true, headDim: 16 },
  gpt2: { family: 'gpt2', tied: true, intermediateSize: 128 },
  'gpt_neox-parallel': { family: 'gpt_neox', tied: false },
  'gpt_neox-sequential': {
    family: 'gpt_neox',
    tied: false,
    hiddenSize: 48,
    variant: { parallelResidual: false, rotaryShare: 0.5, activation: 'gelu_tanh' },
  },
  gemma: { family: 'gemma', tied: true, kvHeads: 1, headDim: 16 },
};

/**
 * For each of `ids`, the logits after it of every `stride`th token, one row after the other, and the RMS of them all; and
 * of the weights that transformers read the digest, because it is their names and layout that the logits speak for.
 */
export type Golden = { sha256: string; logits: number[]; size: number[] };

type File = { ids: number[]; stride: number; cases: Record<string, Golden> };

export function readGoldens(): File {
  return JSON.parse(readFileSync(new URL('./golden.json', import.meta.url), 'utf8')) as File;
}

/** The largest difference of logits [V] after the token at `at` from what was kept: of one of them, or of their RMS. */
export function maxDeviation(golden: Golden, stride: number, at: number, logits: Float32Array | Float64Array): number {
  const columns = Math.ceil(logits.length / stride);
  const kept = golden.logits.slice(at * columns, (at + 1) * columns);
  let squares = 0;
  for (const logit of logits) squares += logit * logit;
  const size = Math.sqrt(squares / logits.length);
  // Math.max of a NaN is NaN, and no NaN is below a tolerance.
  return Math.max(...kept.map((logit, i) => Math.abs(logits[i * stride]! - logit)), Math.abs(size - golden.size[at]!));
}

if (import.meta.main) {
  const folder = process.argv[2];
  if (!folder) throw new Error('golden.ts: name the folder to write the checkpoints into');
  for (const [name, options] of Object.entries(GOLDEN_CASES))
    await writeTinyCheckpoint(join(folder, name), { seed: GOLDEN_SEED, ...options });
}
