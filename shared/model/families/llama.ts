// Llama and the families that changed a detail of it: Mistral's window, Qwen2's biases, Qwen3's norms of queries and
// keys, Gemma's GELU and its norms around one. Attune's own names of tensors are theirs.
import { z } from 'zod';
import { type Architecture, type FamilyName, LLAMA, weightShapes } from '../architecture.ts';
import {
  activationName,
  type Family,
  optionalBoolean,
  parseActivation,
  parseFields,
  positiveInt,
  unsupported,
  validateFields,
  validateHeads,
} from './family.ts';
import { parseRope, ropeFields, toRopeFields } from './rope-config.ts';
import { minusOne, unchanged } from './tensor-layouts.ts';

const schema = z.looseObject({
  hidden_size: positiveInt,
  intermediate_size: positiveInt,
  num_hidden_layers: positiveInt,
  num_attention_heads: positiveInt,
  num_key_value_heads: positiveInt.nullish(),
  head_dim: positiveInt.nullish(),
  vocab_size: positiveInt,
  max_position_embeddings: positiveInt,
  rms_norm_eps: z.number().positive(),
  hidden_act: z.string().nullish(),
  attention_bias: optionalBoolean,
  mlp_bias: optionalBoolean,
  sliding_window: positiveInt.nullish(),
  use_sliding_window: optionalBoolean,
  tie_word_embeddings: optionalBoolean,
  ...ropeFields,
});
type Config = z.infer<typeof schema>;

/** What a family does differently. */
type Variant = {
  className: string;
  /** None unless told; `flagged` where config.json says. */
  biases?: Architecture['biases'] | 'flagged';
  queryKeyNorm?: boolean;
  /** Of how many positions a token sees the last ones only; null for all. */
  window?(config: Config): number | null;
  activation?: Architecture['activation'];
  tied?: boolean;
  scalesEmbedding?: boolean;
  normAroundOne?: boolean;
  /** Fields that this family's config.json must have besides, and no other values of them. */
  fixed?: Record<string, readonly unknown[]>;
};

function describe(family: FamilyName, variant: Variant): Family {
  return {
    className: variant.className,
    parseConfig(config) {
      validateFields(config, {
        rope_interleaved: [false],
        partial_rotary_factor: [1],
        quantization_config: [],
        ...variant.fixed,
      });
      const c = parseFields(schema, config);
      const heads = c.num_attention_heads;
      const kvHeads = c.num_key_value_heads ?? heads;
      const headDim = c.head_dim ?? c.hidden_size / heads;
      validateHeads(heads, kvHeads, headDim);
      const rope = parseRope(c, headDim);
      if (rope.rotaryShare !== 1)
        throw unsupported(`partial_rotary_factor is ${rope.rotaryShare}`, 'Attune serves 1 only');
      return {
        ...LLAMA,
        family,
        activation: variant.activation ?? parseActivation('hidden_act', c.hidden_act ?? 'silu'),
        biases: readBiases(variant, c),
        queryKeyNorm: variant.queryKeyNorm ?? false,
        embeddingScale: variant.scalesEmbedding ? Math.sqrt(c.hidden_size) : 1,
        ...rope,
        hiddenSize: c.hidden_size,
        intermediateSize: c.intermediate_size,
        layers: c.num_hidden_layers,
        heads,
        kvHeads,
        headDim,
        vocabSize: c.vocab_size,
        // Within the window every token sees all others, and beyond it Attune does not go.
        contextLength: Math.min(c.max_position_embeddings, variant.window?.(c) ?? Number.POSITIVE_INFINITY),
        normEpsilon: c.rms_norm_eps,
        tied: c.tie_word_embeddings ?? variant.tied ?? false,
      };
    },
    toConfig: (a) => ({
      hidden_size: a.hiddenSize,
      intermediate_size: a.intermediateSize,
      num_hidden_layers: a.layers,
      num_attention_heads: a.heads,
      num_key_value_heads: a.kvHeads,
      head_dim: a.headDim,
      max_position_embeddings: a.contextLength,
      rms_norm_eps: a.normEpsilon,
      ...toRopeFields(a),
      hidden_act: activationName(a.activation),
      attention_dropout: 0,
      ...(variant.biases === 'flagged' ? { attention_bias: a.biases.qkv, mlp_bias: a.biases.mlp } : {}),
      ...(variant.window ? { sliding_window: null, use_sliding_window: false } : {}),
      ...(variant.activation ? { hidden_activation: activationName(a.activation) } : {}),
    }),
    tensors: (a) =>
      Array.from(weightShapes(a).keys(), (name) => ({
        name,
        parts: [name],
        layout: variant.normAroundOne && name.endsWith('norm.weight') ? minusOne : unchanged,
      })),
    buffers: /(^|\.)rotary_emb\.inv_freq$|\.self_attn\.(masked_)?bias$/,
  };
}

function readBiases({ biases = LLAMA.biases }: Variant, c: Config): Architecture['biases'] {
  if (biases !== 'flagged') return biases;
  const attention = c.attention_bias ?? false;
  return { qkv: attention, output: attention, mlp: c.mlp_bias ?? false };
}

const optionalWindow = (c: Config) => (c.use_sliding_window ? (c.sliding_window ?? null) : null);
const noMlpBias = { mlp_bias: [false] };

export const llama = describe('llama', {
  className: 'LlamaForCausalLM',
  biases: 'flagged',
  fixed: { sliding_window: [] },
});

export const mistral = describe('mistral', {
  className: 'MistralForCausalLM',
  window: (c) => c.sliding_window ?? null,
  fixed: { ...noMlpBias, attention_bias: [false] },
});

export const qwen2 = describe('qwen2', {
  className: 'Qwen2ForCausalLM',
  biases: { qkv: true, output: false, mlp: false },
  window: optionalWindow,
  fixed: noMlpBias,
});

export const qwen3 = describe('qwen3', {
  className: 'Qwen3ForCausalLM',
  biases: 'flagged',
  queryKeyNorm: true,
  window: optionalWindow,
  fixed: noMlpBias,
});

/** The first Gemma. Its checkpoints' `hidden_act: gelu` has always meant the approximation by tanh. */
export const gemma = describe('gemma', {
  className: 'GemmaForCausalLM',
  biases: 'flagged',
  activation: 'gelu_tanh',
  tied: true,
  scalesEmbedding: true,
  normAroundOne: true,
  fixed: {
    ...noMlpBias,
    hidden_act: ['gelu_pytorch_tanh', 'gelu', 'gelu_new'],
    hidden_activation: ['gelu_pytorch_tanh', 'gelu_new'],
    use_bidirectional_attention: [false],
  },
});
