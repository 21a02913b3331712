// A model family: how its config.json maps to an Architecture, and the names and layouts of the tensors in its
// checkpoints. Unsupported config fields are rejected by name: a model computed with the wrong architecture would still
// generate text, only worse.
import { z } from 'zod';
import { AttuneError } from '../../error.ts';
import { type Activation, type Architecture, REWARD_HEAD } from '../architecture.ts';
import { type TensorLayout, unchanged } from './tensor-layouts.ts';

/** An architecture without its special tokens, which config.ts reads for every family. */
export type FamilyConfig = Omit<Architecture, 'bos' | 'eos'>;

/** A tensor of a checkpoint, made of one or several of Attune's tensors (`parts`). */
export type StoredTensor = { name: string; parts: string[]; layout: TensorLayout };

/** The names and layouts of a checkpoint's tensors. */
export type TensorFormat = {
  /** The tensors, in checkpoint order. */
  tensors(a: Architecture): StoredTensor[];
  /** A prefix of tensor names that some exporters omit. */
  optionalPrefix?: string;
  /** Buffers that old exporters saved as tensors; the architecture determines their values. */
  buffers: RegExp;
};

export type Family = TensorFormat & {
  /** The class in transformers, as listed in `architectures`, for each output. */
  classNames: Record<Architecture['output'], string>;
  parseConfig(config: object): FamilyConfig;
  /** The inverse of parseConfig. */
  toConfig(a: Architecture): Record<string, unknown>;
};

/** The stored output layer; nothing if it is tied. `name` is that of logits. */
export function listOutputLayer(a: Architecture, name: string): StoredTensor[] {
  if (a.output === 'reward') return [{ name: REWARD_HEAD, parts: [REWARD_HEAD], layout: unchanged }];
  return a.tied ? [] : [{ name, parts: ['lm_head.weight'], layout: unchanged }];
}

export const positiveInt = z.int().positive();
export const optionalBoolean = z.boolean().nullish();

/** Parses the fields of config.json. Throws AttuneError that lists every missing or invalid field. */
export function parseFields<T>(schema: z.ZodType<T>, value: unknown, file = 'config.json'): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => {
    const field = issue.path.join('.');
    const missing = issue.path.length === 1 && (value as Record<string, unknown>)[field] === undefined;
    return missing ? `${field} is missing` : `${field || 'content'}: ${issue.message}`;
  });
  throw new AttuneError(`${file}: ${fields.join(', ')}; export the checkpoint again`, { code: 'invalid_checkpoint' });
}

export function unsupported(problem: string, remedy: string): AttuneError {
  return new AttuneError(`config.json: ${problem}; ${remedy}`, { code: 'unsupported_architecture' });
}

/** Rejects fields whose value is not in the list; absent and null are allowed. */
export function validateFields(config: object, allowed: Record<string, readonly unknown[]>): void {
  for (const [field, values] of Object.entries(allowed)) {
    const value = (config as Record<string, unknown>)[field] ?? null;
    if (value === null || values.includes(value)) continue;
    const remedy =
      values.length > 0
        ? `Attune supports only ${JSON.stringify(values[0])}`
        : 'Attune supports only models without it';
    throw unsupported(`${field} is ${JSON.stringify(value)}`, remedy);
  }
}

/** transformers has several names for the same function. */
const ACTIVATION_NAMES: Record<string, Activation> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
};

export function parseActivation(field: string, name: string): Activation {
  const activation = ACTIVATION_NAMES[name];
  if (activation) return activation;
  throw unsupported(
    `${field} is ${JSON.stringify(name)}`,
    `Attune supports only ${Object.keys(ACTIVATION_NAMES).join(', ')}`,
  );
}

/** The name in config.json, accepted by every family. */
export function activationName(activation: Activation): string {
  return activation === 'gelu_tanh' ? 'gelu_pytorch_tanh' : activation;
}

export function validateHeads(heads: number, kvHeads: number, headDim: number): void {
  if (heads % kvHeads !== 0) {
    throw unsupported(
      `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`,
      'correct one of them',
    );
  }
  if (!Number.isInteger(headDim))
    throw unsupported(`the head size is ${headDim}`, 'it must be an integer; set head_dim');
}
