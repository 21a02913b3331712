// GPT-2: learned positions, LayerNorm, biases, tanh-approximated GELU, tied embeddings. Matrices are stored [in, out]
// (Conv1D); queries, keys and values as one.
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
import { stacked, stackedTransposed, unchanged } from './tensor-layouts.ts';

const schema = z.looseObject({
  n_embd: positiveInt,
  n_layer: positiveInt,
  n_head: positiveInt,
  n_positions: positiveInt,
  /** Null means 4 · n_embd. */
  n_inner: positiveInt.nullish(),
  vocab_size: positiveInt,
  layer_norm_epsilon: z.number().positive().default(1e-5),
  activation_function: z.string().default('gelu_new'),
  tie_word_embeddings: optionalBoolean,
});

export const gpt2: Family = {
  classNames: { logits: 'GPT2LMHeadModel', reward: 'GPT2ForSequenceClassification' },
  parseConfig(config) {
    validateFields(config, {
      scale_attn_weights: [true],
      scale_attn_by_inverse_layer_idx: [false],
      add_cross_attention: [false],
      quantization_config: [],
    });
    const c = parseFields(schema, config);
    const headDim = c.n_embd / c.n_head;
    validateHeads(c.n_head, c.n_head, headDim);
    return {
      ...LLAMA,
      family: 'gpt2',
      norm: 'layer',
      activation: parseActivation('activation_function', c.activation_function),
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
  toConfig: (a) => ({
    n_embd: a.hiddenSize,
    n_layer: a.layers,
    n_head: a.heads,
    n_positions: a.contextLength,
    n_ctx: a.contextLength,
    n_inner: a.intermediateSize,
    layer_norm_epsilon: a.normEpsilon,
    activation_function: a.activation === 'gelu_tanh' ? 'gelu_new' : activationName(a.activation),
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
        { name: `${to}.${name}.weight`, parts: [`${from}.${part}.weight`], layout: stackedTransposed },
        { name: `${to}.${name}.bias`, parts: [`${from}.${part}.bias`], layout: unchanged },
      ];
      return [
        ...norm(`${to}.ln_1`, `${from}.input_layernorm`),
        { name: `${to}.attn.c_attn.weight`, parts: attention('weight'), layout: stackedTransposed },
        { name: `${to}.attn.c_attn.bias`, parts: attention('bias'), layout: stacked },
        ...linear('attn.c_proj', 'self_attn.o_proj'),
        ...norm(`${to}.ln_2`, `${from}.post_attention_layernorm`),
        ...linear('mlp.c_fc', 'mlp.up_proj'),
        ...linear('mlp.c_proj', 'mlp.down_proj'),
      ];
    });
    return [
      { name: 'transformer.wte.weight', parts: ['model.embed_tokens.weight'], layout: unchanged },
      { name: 'transformer.wpe.weight', parts: ['model.embed_positions.weight'], layout: unchanged },
      ...layers.flat(),
      ...norm('transformer.ln_f', 'model.norm'),
      ...listOutputLayer(a, 'lm_head.weight'),
    ];
  },
  optionalPrefix: 'transformer.',
  buffers: /(^|\.)attn\.(masked_)?bias$/,
};

function norm(name: string, part: string) {
  return ['weight', 'bias'].map((kind) => ({ name: `${name}.${kind}`, parts: [`${part}.${kind}`], layout: unchanged }));
}
