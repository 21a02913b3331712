// GPT-2: learned positions, LayerNorm and biases everywhere, GELU by tanh, an embedding that is the output layer too.
// Its matrices are stored [in, out], those of queries, keys and values as one.
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
import { same, stacked, turned } from './forms.ts';

const schema = z.looseObject({
  n_embd: count,
  n_layer: count,
  n_head: count,
  n_positions: count,
  /** Four times the width where it is null. */
  n_inner: count.nullish(),
  vocab_size: count,
  layer_norm_epsilon: z.number().positive().default(1e-5),
  activation_function: z.string().default('gelu_new'),
  tie_word_embeddings: flag,
});

export const gpt2: Family = {
  className: 'GPT2LMHeadModel',
  read(config) {
    allowOnly(config, {
      scale_attn_weights: [true],
      scale_attn_by_inverse_layer_idx: [false],
      add_cross_attention: [false],
      quantization_config: [],
    });
    const c = checkFields(schema, config);
    const headDim = c.n_embd / c.n_head;
    checkHeads(c.n_head, c.n_head, headDim);
    return {
      ...LLAMA,
      family: 'gpt2',
      norm: 'layer',
      activation: readActivation('activation_function', c.activation_function),
      gated: false,
      biases: { qkv: true, output: true, mlp: true },
      positions: 'learned',
      hiddenSize: c.n_embd,
      intermediateSize: c.n_inner ?? 4 * c.n_embd,
      layers: c.n_layer,
      heads: c.n_head,
      kvHeads: c.n_head,
      headDim,
      vocabSize: c.vocab_size,
      contextLength: c.n_positions,
      normEpsilon: c.layer_norm_epsilon,
      ropeTheta: 10000,
      tied: c.tie_word_embeddings ?? true,
    };
  },
  write: (a) => ({
    n_embd: a.hiddenSize,
    n_layer: a.layers,
    n_head: a.heads,
    n_positions: a.contextLength,
    n_ctx: a.contextLength,
    n_inner: a.intermediateSize,
    layer_norm_epsilon: a.normEpsilon,
    activation_function: a.activation === 'gelu_tanh' ? 'gelu_new' : nameActivation(a.activation),
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
  }),
  tensors(a) {
    const layers = Array.from({ length: a.layers }, (_, layer) => {
      const to = `transformer.h.${layer}`;
      const from = `model.layers.${layer}`;
      const attention = (kind: string) => ['q', 'k', 'v'].map((name) => `${from}.self_attn.${name}_proj.${kind}`);
      const linear = (name: string, part: string) => [
        { name: `${to}.${name}.weight`, parts: [`${from}.${part}.weight`], form: turned },
        { name: `${to}.${name}.bias`, parts: [`${from}.${part}.bias`], form: same },
      ];
      return [
        ...norm(`${to}.ln_1`, `${from}.input_layernorm`),
        { name: `${to}.attn.c_attn.weight`, parts: attention('weight'), form: turned },
        { name: `${to}.attn.c_attn.bias`, parts: attention('bias'), form: stacked },
        ...linear('attn.c_proj', 'self_attn.o_proj'),
        ...norm(`${to}.ln_2`, `${from}.post_attention_layernorm`),
        ...linear('mlp.c_fc', 'mlp.up_proj'),
        ...linear('mlp.c_proj', 'mlp.down_proj'),
      ];
    });
    return [
      { name: 'transformer.wte.weight', parts: ['model.embed_tokens.weight'], form: same },
      { name: 'transformer.wpe.weight', parts: ['model.embed_positions.weight'], form: same },
      ...layers.flat(),
      ...norm('transformer.ln_f', 'model.norm'),
      ...(a.tied ? [] : [{ name: 'lm_head.weight', parts: ['lm_head.weight'], form: same }]),
    ];
  },
  prefix: 'transformer.',
  buffers: /(^|\.)attn\.(masked_)?bias$/,
};

function norm(name: string, part: string) {
  return ['weight', 'bias'].map((kind) => ({ name: `${name}.${kind}`, parts: [`${part}.${kind}`], form: same }));
}
