// Llama and the families that differ from it in a detail: Mistral's sliding window, Qwen2's biases, Qwen3's query and key
// norms, Gemma's GELU and norms stored minus one. Attune uses their tensor names.
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

/** How a family differs from Llama. */
type LlamaVariant = {
  /** The name of its classes in transformers. */
  prefix: string;
  /** `flagged`: read from attention_bias and mlp_bias in config.json. Default: none. */
  biases?: Architecture['biases'] | 'flagged';
  queryKeyNorm?: boolean;
  /** Sliding attention window in tokens; null for full attention. */
  window?(config: Config): number | null;
  activation?: Architecture['activation'];
  tied?: boolean;
  scalesEmbedding?: boolean;
  isNormMinusOne?: boolean;
  /** Further config.json fields with their supported values. */
  allowed?: Record<string, readonly unknown[]>;
};

function defineFamily(family: FamilyName, variant: LlamaVariant): Family {
  return {
    classNames: {
      logits: `${variant.prefix}ForCausalLM`,
      reward: `${variant.prefix}ForSequenceClassification`,
    },
    parseConfig(config) {
      validateFields(config, {
        rope_interleaved: [false],
        partial_rotary_factor: [1],
        quantization_config: [],
        ...variant.allowed,
      });
      const c = parseFields(schema, config);
      const heads = c.num_attention_heads;
      const kvHeads = c.num_key_value_heads ?? heads;
      const headDim = c.head_dim ?? c.hidden_size / heads;
      validateHeads(heads, kvHeads, headDim);
      const rope = parseRope(c, headDim);
      if (rope.rotaryShare !== 1)
        throw unsupported(`partial_rotary_factor is ${rope.rotaryShare}`, 'Attune supports only 1');
      return {
        ...LLAMA,
        family,
        activation: variant.activation ?? parseActivation('hidden_act', c.hidden_act ?? 'silu'),
        biases: parseBiases(variant, c),
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
        // Limited to the window, within which sliding attention equals full attention.
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
        layout: variant.isNormMinusOne && name.endsWith('norm.weight') ? minusOne : unchanged,
      })),
    buffers: /(^|\.)rotary_emb\.inv_freq$|\.self_attn\.(masked_)?bias$/,
  };
}

function parseBiases({ biases = LLAMA.biases }: LlamaVariant, c: Config): Architecture['biases'] {
  if (biases !== 'flagged') return biases;
  const attention = c.attention_bias ?? false;
  return { qkv: attention, output: attention, mlp: c.mlp_bias ?? false };
}

const optionalWindow = (c: Config) => (c.use_sliding_window ? (c.sliding_window ?? null) : null);
const noMlpBias = { mlp_bias: [false] };

export const llama = defineFamily('llama', {
  prefix: 'Llama',
  biases: 'flagged',
  allowed: { sliding_window: [] },
});

export const mistral = defineFamily('mistral', {
  prefix: 'Mistral',
  window: (c) => c.sliding_window ?? null,
  allowed: { ...noMlpBias, attention_bias: [false] },
});

export const qwen2 = defineFamily('qwen2', {
  prefix: 'Qwen2',
  biases: { qkv: true, output: false, mlp: false },
  window: optionalWindow,
  allowed: noMlpBias,
});

export const qwen3 = defineFamily('qwen3', {
  prefix: 'Qwen3',
  biases: 'flagged',
  queryKeyNorm: true,
  window: optionalWindow,
  allowed: noMlpBias,
});

/** Gemma 1. `hidden_act: gelu` in its checkpoints means the tanh approximation. */
export const gemma = defineFamily('gemma', {
  prefix: 'Gemma',
  biases: 'flagged',
  activation: 'gelu_tanh',
  tied: true,
  scalesEmbedding: true,
  isNormMinusOne: true,
  allowed: {
    ...noMlpBias,
    hidden_act: ['gelu_pytorch_tanh', 'gelu', 'gelu_new'],
    hidden_activation: ['gelu_pytorch_tanh', 'gelu_new'],
    use_bidirectional_attention: [false],
  },
});
