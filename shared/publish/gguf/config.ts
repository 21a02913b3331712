// The architecture of a GGUF file's model: its metadata as the config.json of Hugging Face's checkpoint, which is parsed
// like any other.
import { z } from 'zod';
import { AttuneError } from '../../error.ts';
import type { Architecture, FamilyName } from '../../model/architecture.ts';
import { parseConfig } from '../../model/config.ts';
import { rotaryFrequencies } from '../../model/rotary.ts';
import { readTensor } from '../../model/tensor.ts';
import { damagedFile } from '../../model/tensor-file.ts';
import { type GgufFile, unsupportedGguf } from './file.ts';

/** Names in `general.architecture`. Mistral's models are written as llama. */
const FAMILIES: Record<string, FamilyName> = {
  llama: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  gemma: 'gemma',
  gpt2: 'gpt2',
  gptneox: 'gpt_neox',
};

const size = z.coerce.number().int().positive();
/** A float32 as the shortest decimal that becomes it: 0.00001, not 0.000009999999747378752. */
const positive = z
  .number()
  .positive()
  .transform((value) => {
    const digits = [1, 2, 3, 4, 5, 6, 7, 8].find((count) => Math.fround(Number(value.toPrecision(count))) === value);
    return digits ? Number(value.toPrecision(digits)) : value;
  });
/** Metadata keys without the architecture's name. */
const keysSchema = z.looseObject({
  block_count: size,
  context_length: size,
  embedding_length: size,
  feed_forward_length: size,
  'attention.head_count': size,
  'attention.head_count_kv': size.optional(),
  'attention.key_length': size.optional(),
  'attention.layer_norm_epsilon': positive.optional(),
  'attention.layer_norm_rms_epsilon': positive.optional(),
  'attention.sliding_window': size.optional(),
  'rope.dimension_count': size.optional(),
  'rope.freq_base': positive.optional(),
  'rope.scaling.type': z.string().optional(),
  'rope.scaling.factor': positive.optional(),
  'rope.scale_linear': z.literal(1).optional(),
  use_parallel_residual: z.boolean().optional(),
  expert_count: z.coerce.number().max(0, 'mixtures of experts are not supported').optional(),
});
type Keys = z.infer<typeof keysSchema>;

/** Throws AttuneError for an unsupported architecture. `special`: bos_token_id and eos_token_id. */
export async function readGgufArchitecture(file: GgufFile, special: Record<string, unknown>): Promise<Architecture> {
  const { fileName, metadata, tensors } = file;
  const name = metadata['general.architecture'];
  const family = FAMILIES[String(name)];
  if (!family) {
    const problem = `general.architecture is ${JSON.stringify(name) ?? 'missing'}`;
    throw unsupportedGguf(fileName, problem, `Attune supports only ${Object.keys(FAMILIES).join(', ')}`);
  }
  const keys = parseKeys(file, String(name));
  const embedding = tensors.get('token_embd.weight');
  if (!embedding) throw damagedFile(fileName, 'tensor token_embd.weight is missing');
  const config = {
    model_type: family,
    ...special,
    vocab_size: embedding.shape[0],
    tie_word_embeddings: !tensors.has('output.weight'),
    ...(family === 'gpt2' ? toGpt2Fields(keys) : toFields(keys, file)),
  };
  try {
    const architecture = parseConfig(config);
    if (!tensors.has('rope_freqs.weight')) return architecture;
    return { ...architecture, ropeScaling: await findRopeScaling(file, architecture) };
  } catch (error) {
    // The fields have config.json's names, but the file is another.
    if (!(error instanceof AttuneError)) throw error;
    throw new AttuneError(error.message.replace(/^config\.json/, fileName), { code: error.code });
  }
}

function parseKeys({ fileName, metadata }: GgufFile, name: string): Keys {
  const own = Object.entries(metadata).flatMap(([key, value]) =>
    key.startsWith(`${name}.`) ? [[key.slice(name.length + 1), value]] : [],
  );
  const parsed = keysSchema.safeParse(Object.fromEntries(own));
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) => `${name}.${issue.path.join('.')}: ${issue.message}`);
  throw unsupportedGguf(fileName, issues.join(', '), 'convert the model again with a current llama.cpp');
}

function toGpt2Fields(keys: Keys): Record<string, unknown> {
  return {
    n_embd: keys.embedding_length,
    n_layer: keys.block_count,
    n_head: keys['attention.head_count'],
    n_positions: keys.context_length,
    n_inner: keys.feed_forward_length,
    layer_norm_epsilon: keys['attention.layer_norm_epsilon'],
  };
}

/** Of every family but GPT-2; each ignores the fields that it does not have. */
function toFields(keys: Keys, { tensors }: GgufFile): Record<string, unknown> {
  const heads = keys['attention.head_count'];
  const headDim = keys['attention.key_length'] ?? keys.embedding_length / heads;
  const rotaryShare = (keys['rope.dimension_count'] ?? headDim) / headDim;
  const scaling = keys['rope.scaling.type'] ?? 'none';
  const hasBias = (name: string) => tensors.has(`blk.0.${name}.bias`);
  return {
    hidden_size: keys.embedding_length,
    intermediate_size: keys.feed_forward_length,
    num_hidden_layers: keys.block_count,
    num_attention_heads: heads,
    num_key_value_heads: keys['attention.head_count_kv'],
    head_dim: headDim,
    // Within the window sliding attention equals full attention.
    max_position_embeddings: Math.min(keys.context_length, keys['attention.sliding_window'] ?? Infinity),
    rms_norm_eps: keys['attention.layer_norm_rms_epsilon'],
    layer_norm_eps: keys['attention.layer_norm_epsilon'],
    attention_bias: hasBias('attn_q') || hasBias('attn_qkv'),
    mlp_bias: hasBias('ffn_gate'),
    rope_theta: keys['rope.freq_base'],
    rope_scaling: scaling === 'none' ? null : { rope_type: scaling, factor: keys['rope.scaling.factor'] },
    partial_rotary_factor: rotaryShare,
    rotary_pct: rotaryShare,
    use_parallel_residual: keys.use_parallel_residual,
  };
}

/**
 * Llama 3's scaling is stored as the factors by which it divides the frequencies, without the numbers that they were
 * computed from. These are the same in all published models but for the factor, which is the largest one.
 */
async function findRopeScaling(
  { fileName, tensors }: GgufFile,
  architecture: Architecture,
): Promise<Architecture['ropeScaling']> {
  const { data: factors } = await readTensor(tensors.get('rope_freqs.weight')!);
  const factor = Math.max(...factors);
  const ropeScaling = {
    type: 'llama3',
    factor,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContext: 8192,
  } as const;
  const plain = rotaryFrequencies({ ...architecture, ropeScaling: null });
  const scaled = rotaryFrequencies({ ...architecture, ropeScaling });
  const isEqual = scaled.every((frequency, i) => Math.abs(plain[i]! / frequency / factors[i]! - 1) < 1e-4);
  if (isEqual && factors.length === plain.length) return factor === 1 ? null : ropeScaling;
  const remedy = 'Attune supports only the scaling of Llama 3; import the safetensors checkpoint instead';
  throw unsupportedGguf(fileName, 'rope_freqs.weight scales the rotary frequencies in an unknown way', remedy);
}
