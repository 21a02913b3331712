// GPT-NeoX (Pythia): LayerNorm and biases, parallel attention and feed-forward, rotary embedding on the first quarter of
// each head. Queries, keys and values are stored as one tensor, interleaved by head.
import { z } from 'zod';
import { LLAMA } from '../architecture.ts';
import {
  activationName,
  type Family,
  listOutputLayer,
  optionalBoolean,
  parseActivation,
  parseFields,
  positiveInt,
  validateFields,
  validateHeads,
} from './family.ts';
import { parseRope, ropeFields, toRopeFields } from './rope-config.ts';
import { interleavedByHead, unchanged } from './tensor-layouts.ts';

const schema = z.looseObject({
  hidden_size: positiveInt,
  intermediate_size: positiveInt,
  num_hidden_layers: positiveInt,
  num_attention_heads: positiveInt,
  vocab_size: positiveInt,
  max_position_embeddings: positiveInt,
  layer_norm_eps: z.number().positive().default(1e-5),
  hidden_act: z.string().default('gelu'),
  attention_bias: optionalBoolean,
  use_parallel_residual: optionalBoolean,
  rotary_pct: z.number().positive().max(1).nullish(),
  rotary_emb_base: z.number().positive().nullish(),
  tie_word_embeddings: optionalBoolean,
  ...ropeFields,
});

export const gptNeox: Family = {
  classNames: { logits: 'GPTNeoXForCausalLM', reward: 'GPTNeoXForSequenceClassification' },
  parseConfig(config) {
    validateFields(config, { quantization_config: [] });
    const c = parseFields(schema, config);
    const heads = c.num_attention_heads;
    const headDim = c.hidden_size / heads;
    validateHeads(heads, heads, headDim);
    const hasBias = c.attention_bias ?? true;
    return {
      ...LLAMA,
      family: 'gpt_neox',
      norm: 'layer',
      activation: parseActivation('hidden_act', c.hidden_act),
      gated: false,
      biases: { qkv: hasBias, output: hasBias, mlp: true },
      parallelResidual: c.use_parallel_residual ?? true,
      ...parseRope({ ...c, rope_theta: c.rotary_emb_base ?? c.rope_theta }, headDim, c.rotary_pct ?? 0.25),
      hiddenSize: c.hidden_size,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads,
      kvHeads: heads,
      headDim,
      vocabSize: c.vocab_size,
      contextLength: c.max_position_embeddings,
      normEpsilon: c.layer_norm_eps,
      tied: c.tie_word_embeddings ?? false,
    };
  },
  toConfig: (a) => ({
    hidden_size: a.hiddenSize,
    intermediate_size: a.intermediateSize,
    num_hidden_layers: a.layers,
    num_attention_heads: a.heads,
    max_position_embeddings: a.contextLength,
    layer_norm_eps: a.normEpsilon,
    hidden_act: activationName(a.activation),
    attention_bias: a.biases.qkv,
    attention_dropout: 0,
    hidden_dropout: 0,
    use_parallel_residual: a.parallelResidual,
    ...toRopeFields(a),
    rotary_emb_base: a.ropeTheta,
    rotary_pct: a.rotaryShare,
  }),
  tensors(a) {
    const layers = Array.from({ length: a.layers }, (_, layer) => {
      const to = `gpt_neox.layers.${layer}`;
      const from = `model.layers.${layer}`;
      const kinds = ['weight', ...(a.biases.qkv ? ['bias'] : [])];
      const products = kinds.map((kind) => ({
        name: `${to}.attention.query_key_value.${kind}`,
        parts: ['q', 'k', 'v'].map((name) => `${from}.self_attn.${name}_proj.${kind}`),
        layout: interleavedByHead(a.headDim),
      }));
      return [
        ...copy(`${to}.input_layernorm`, `${from}.input_layernorm`),
        ...copy(`${to}.post_attention_layernorm`, `${from}.post_attention_layernorm`),
        ...products,
        ...copy(`${to}.attention.dense`, `${from}.self_attn.o_proj`, kinds),
        ...copy(`${to}.mlp.dense_h_to_4h`, `${from}.mlp.up_proj`),
        ...copy(`${to}.mlp.dense_4h_to_h`, `${from}.mlp.down_proj`),
      ];
    });
    return [
      ...copy('gpt_neox.embed_in', 'model.embed_tokens', ['weight']),
      ...layers.flat(),
      ...copy('gpt_neox.final_layer_norm', 'model.norm'),
      ...listOutputLayer(a, 'embed_out.weight'),
    ];
  },
  buffers: /(^|\.)rotary_emb\.inv_freq$|\.attention\.(masked_)?bias$/,
};

function copy(name: string, part: string, kinds = ['weight', 'bias']) {
  return kinds.map((kind) => ({ name: `${name}.${kind}`, parts: [`${part}.${kind}`], layout: unchanged }));
}
