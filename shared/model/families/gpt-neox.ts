// GPT-NeoX, which Pythia is: LayerNorm and biases, attention and feed-forward side by side, rotary positions for the
// first quarter of each head. Queries, keys and values are stored head by head.
import { z } from 'zod';
import { LLAMA } from '../architecture.ts';
import {
  allowOnly,
  checkFields,
  checkHeads,
  count,
  type Family,
  flag,
  nameActivation,
  readActivation,
} from './family.ts';
import { byHead, same } from './forms.ts';
import { readRope, ropeFields, writeRope } from './rope.ts';

const schema = z.looseObject({
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  vocab_size: count,
  max_position_embeddings: count,
  layer_norm_eps: z.number().positive().default(1e-5),
  hidden_act: z.string().default('gelu'),
  attention_bias: flag,
  use_parallel_residual: flag,
  rotary_pct: z.number().positive().max(1).nullish(),
  rotary_emb_base: z.number().positive().nullish(),
  tie_word_embeddings: flag,
  ...ropeFields,
});

export const gptNeox: Family = {
  className: 'GPTNeoXForCausalLM',
  read(config) {
    allowOnly(config, { quantization_config: [] });
    const c = checkFields(schema, config);
    const heads = c.num_attention_heads;
    const headDim = c.hidden_size / heads;
    checkHeads(heads, heads, headDim);
    const hasBias = c.attention_bias ?? true;
    return {
      ...LLAMA,
      family: 'gpt_neox',
      norm: 'layer',
      activation: readActivation('hidden_act', c.hidden_act),
      gated: false,
      biases: { qkv: hasBias, output: hasBias, mlp: true },
      parallelResidual: c.use_parallel_residual ?? true,
      ...readRope({ ...c, rope_theta: c.rotary_emb_base ?? c.rope_theta }, headDim, c.rotary_pct ?? 0.25),
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
  write: (a) => ({
    hidden_size: a.hiddenSize,
    intermediate_size: a.intermediateSize,
    num_hidden_layers: a.layers,
    num_attention_heads: a.heads,
    max_position_embeddings: a.contextLength,
    layer_norm_eps: a.normEpsilon,
    hidden_act: nameActivation(a.activation),
    attention_bias: a.biases.qkv,
    attention_dropout: 0,
    hidden_dropout: 0,
    use_parallel_residual: a.parallelResidual,
    ...writeRope(a),
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
        form: byHead(a.headDim),
      }));
      return [
        ...copies(`${to}.input_layernorm`, `${from}.input_layernorm`),
        ...copies(`${to}.post_attention_layernorm`, `${from}.post_attention_layernorm`),
        ...products,
        ...copies(`${to}.attention.dense`, `${from}.self_attn.o_proj`, kinds),
        ...copies(`${to}.mlp.dense_h_to_4h`, `${from}.mlp.up_proj`),
        ...copies(`${to}.mlp.dense_4h_to_h`, `${from}.mlp.down_proj`),
      ];
    });
    return [
      ...copies('gpt_neox.embed_in', 'model.embed_tokens', ['weight']),
      ...layers.flat(),
      ...copies('gpt_neox.final_layer_norm', 'model.norm'),
      ...(a.tied ? [] : copies('embed_out', 'lm_head', ['weight'])),
    ];
  },
  buffers: /(^|\.)rotary_emb\.inv_freq$|\.attention\.(masked_)?bias$/,
};

function copies(name: string, part: string, kinds = ['weight', 'bias']) {
  return kinds.map((kind) => ({ name: `${name}.${kind}`, parts: [`${part}.${kind}`], form: same }));
}
