// What Attune knows of a model family: how to read and write its config.json, and under which names and in which form
// its checkpoints keep the tensors of the one decoder. Mathematics that no family of Attune's has is refused by name,
// because a model served with the wrong mathematics still answers, only badly.
import { z } from 'zod';
import { AttuneError } from '../../error.ts';
import type { Activation, Architecture } from '../architecture.ts';
import type { TensorLayout } from './tensor-layouts.ts';

/** All but the special tokens, which every family has alike. */
export type FamilyConfig = Omit<Architecture, 'bos' | 'eos'>;

export type StoredTensor = { name: string; parts: string[]; layout: TensorLayout };

export type Family = {
  /** What transformers calls the class, in `architectures`. */
  className: string;
  parseConfig(config: object): FamilyConfig;
  /** What `read` takes back unchanged. */
  toConfig(a: Architecture): Record<string, unknown>;
  /** The tensors of a checkpoint, in its order. */
  tensors(a: Architecture): StoredTensor[];
  /** What some exporters leave out in front of names. */
  optionalPrefix?: string;
  /** Buffers that old exporters saved beside the weights; the architecture already determines them. */
  buffers: RegExp;
};

export const positiveInt = z.int().positive();
export const optionalBoolean = z.boolean().nullish();

/** The config.json as the schema has it, or an error that names every wrong field. */
export function parseFields<T>(schema: z.ZodType<T>, value: unknown, file = 'config.json'): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => {
    const field = issue.path.join('.');
    const missing = issue.path.length === 1 && (value as Record<string, unknown>)[field] === undefined;
    return missing ? `${field} is missing` : `${field || 'it'}: ${issue.message}`;
  });
  throw new AttuneError(`${file}: ${fields.join(', ')}; export the checkpoint again`, { code: 'invalid_checkpoint' });
}

export function unsupported(problem: string, remedy: string): AttuneError {
  return new AttuneError(`config.json: ${problem}; ${remedy}`, { code: 'unsupported_architecture' });
}

/** Refuses fields with other values than these; a field that is absent or null is fine. */
export function validateFields(config: object, allowed: Record<string, readonly unknown[]>): void {
  for (const [field, values] of Object.entries(allowed)) {
    const value = (config as Record<string, unknown>)[field] ?? null;
    if (value === null || values.includes(value)) continue;
    const remedy =
      values.length > 0 ? `Attune serves ${JSON.stringify(values[0])} only` : 'Attune serves models without it';
    throw unsupported(`${field} is ${JSON.stringify(value)}`, remedy);
  }
}

/** transformers has several names for one function. */
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
    `Attune serves ${Object.keys(ACTIVATION_NAMES).join(', ')} only`,
  );
}

/** As every family's config.json may have it. */
export function activationName(activation: Activation): string {
  return activation === 'gelu_tanh' ? 'gelu_pytorch_tanh' : activation;
}

/** The heads of a model whose head size is a share of its width, unless it says otherwise. */
export function validateHeads(heads: number, kvHeads: number, headDim: number): void {
  if (heads % kvHeads !== 0) {
    throw unsupported(
      `num_attention_heads ${heads} is no multiple of num_key_value_heads ${kvHeads}`,
      'one of them is wrong',
    );
  }
  if (!Number.isInteger(headDim)) throw unsupported(`the head size is ${headDim}`, 'it must be whole; set head_dim');
}
