// Reference logits from Hugging Face transformers: the small checkpoints that golden.py runs and the results in golden.json.
// As a script it writes the checkpoints into a folder; see golden.py for the commands.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

const llama3Scaling = { type: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 64 };

export const GOLDEN_SEED = 11;

/** At least one checkpoint per family, covering the options in which families differ. */
export const GOLDEN_CASES: Record<string, TinyCheckpointOptions> = {
  'llama-tied': { family: 'llama', tied: true },
  'llama-untied': { family: 'llama', tied: false, headDim: 10 },
  'llama-biases': { family: 'llama', tied: false, variant: { biases: { qkv: true, output: true, mlp: true } } },
  'llama-rope-llama3': { family: 'llama', variant: { ropeScaling: { ...llama3Scaling, type: 'llama3' } } },
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
 * After each of `ids`: the logits of every `stride`th token, flattened to [ids · ⌈V / stride⌉], and the RMS over all logits.
 * `sha256` is the digest of the model.safetensors that transformers loaded, whose names and layout the logits verify.
 */
type Golden = { sha256: string; logits: number[]; rms: number[] };

type GoldenFile = { ids: number[]; stride: number; cases: Record<string, Golden> };

export function readGoldens(): GoldenFile {
  return JSON.parse(readFileSync(new URL('./golden.json', import.meta.url), 'utf8')) as GoldenFile;
}

/** Largest absolute difference between logits [V] at position `at` and the golden ones: of a logit or of the RMS. */
export function maxDeviation(golden: Golden, stride: number, at: number, logits: Float32Array | Float64Array): number {
  const columns = Math.ceil(logits.length / stride);
  const expected = golden.logits.slice(at * columns, (at + 1) * columns);
  let squares = 0;
  for (const logit of logits) squares += logit * logit;
  const rms = Math.sqrt(squares / logits.length);
  // Math.max returns NaN if any value is NaN, and NaN is below no tolerance.
  return Math.max(
    ...expected.map((logit, i) => Math.abs(logits[i * stride]! - logit)),
    Math.abs(rms - golden.rms[at]!),
  );
}

if (import.meta.main) {
  const folder = process.argv[2];
  if (!folder) throw new Error('usage: node testing/golden.ts FOLDER');
  for (const [name, options] of Object.entries(GOLDEN_CASES))
    await writeTinyCheckpoint(join(folder, name), { seed: GOLDEN_SEED, ...options });
}
