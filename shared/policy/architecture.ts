// The shape of a policy, read from a Hugging Face config.json. Attune trains and serves plain Llama decoders: RMSNorm,
// rotary positions, grouped-query attention, SwiGLU. Anything that would need other mathematics is refused by name,
// because a model served with the wrong mathematics still answers, only badly.
import { z } from 'zod';
import { AttuneError } from '../error.ts';

export type Architecture = {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  /** Key and value heads; each serves heads / kvHeads query heads. */
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  contextLength: number;
  normEpsilon: number;
  ropeTheta: number;
  /** Whether the embedding table is also the output layer. */
  tied: boolean;
  bos: number | null;
  /** Every token that ends a response. */
  eos: number[];
};

const count = z.int().positive();
const token = z.int().nonnegative();
const tokens = z.union([token, z.array(token)]).nullish();
const rope = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
});

const configSchema = z.looseObject({
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  vocab_size: count,
  max_position_embeddings: count,
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: rope.nullish(),
  rope_parameters: rope.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  bos_token_id: tokens,
  eos_token_id: tokens,
});

const generationSchema = z.looseObject({ bos_token_id: tokens, eos_token_id: tokens });

/** Checks a config.json (and generation_config.json, whose special tokens win) and takes from it what Attune needs. */
export function parseArchitecture(config: unknown, generationConfig?: unknown): Architecture {
  if (typeof config !== 'object' || config === null)
    throw refused('it is no JSON object', 'export the checkpoint again');
  refuseOtherModels(config as Record<string, unknown>);
  const c = check(configSchema, config, 'config.json');
  const g = check(generationSchema, generationConfig ?? {}, 'generation_config.json');

  for (const scaling of [c.rope_scaling, c.rope_parameters]) {
    const type = scaling?.rope_type ?? scaling?.type ?? 'default';
    // `rope_scaling` without a type, or with other knobs, is some scaling all the same.
    if (type !== 'default' || (scaling === c.rope_scaling && scaling && !scaling.rope_type && !scaling.type)) {
      throw refused(`rope_scaling is ${JSON.stringify(scaling)}`, 'Attune serves unscaled rotary positions only');
    }
  }

  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? heads;
  const headDim = c.head_dim ?? c.hidden_size / heads;
  if (heads % kvHeads !== 0) {
    throw refused(
      `num_attention_heads ${heads} is no multiple of num_key_value_heads ${kvHeads}`,
      'one of them is wrong',
    );
  }
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw refused(`the head size is ${headDim}`, 'rotary positions need an even number; set head_dim');
  }
  const bos = g.bos_token_id ?? c.bos_token_id ?? null;
  const architecture: Architecture = {
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads,
    kvHeads,
    headDim,
    vocabSize: c.vocab_size,
    contextLength: c.max_position_embeddings,
    normEpsilon: c.rms_norm_eps,
    ropeTheta: c.rope_parameters?.rope_theta ?? c.rope_theta ?? 10000,
    tied: c.tie_word_embeddings,
    bos: Array.isArray(bos) ? (bos[0] ?? null) : bos,
    eos: [g.eos_token_id ?? c.eos_token_id ?? []].flat(),
  };
  for (const id of [...architecture.eos, architecture.bos ?? 0]) {
    if (id >= c.vocab_size) throw refused(`special token ${id} is outside vocab_size ${c.vocab_size}`, 'one is wrong');
  }
  return architecture;
}

/** Every tensor that a checkpoint of this architecture has, with its shape, in checkpoint order. */
export function weightShapes(a: Architecture): Map<string, number[]> {
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  const shapes = new Map<string, number[]>([['model.embed_tokens.weight', [a.vocabSize, a.hiddenSize]]]);
  for (let layer = 0; layer < a.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.set(`${prefix}.input_layernorm.weight`, [a.hiddenSize]);
    shapes.set(`${prefix}.self_attn.q_proj.weight`, [queries, a.hiddenSize]);
    shapes.set(`${prefix}.self_attn.k_proj.weight`, [keys, a.hiddenSize]);
    shapes.set(`${prefix}.self_attn.v_proj.weight`, [keys, a.hiddenSize]);
    shapes.set(`${prefix}.self_attn.o_proj.weight`, [a.hiddenSize, queries]);
    shapes.set(`${prefix}.post_attention_layernorm.weight`, [a.hiddenSize]);
    shapes.set(`${prefix}.mlp.gate_proj.weight`, [a.intermediateSize, a.hiddenSize]);
    shapes.set(`${prefix}.mlp.up_proj.weight`, [a.intermediateSize, a.hiddenSize]);
    shapes.set(`${prefix}.mlp.down_proj.weight`, [a.hiddenSize, a.intermediateSize]);
  }
  shapes.set('model.norm.weight', [a.hiddenSize]);
  if (!a.tied) shapes.set('lm_head.weight', [a.vocabSize, a.hiddenSize]);
  return shapes;
}

function refuseOtherModels(config: Record<string, unknown>): void {
  const { architectures, model_type: type } = config;
  const classes = Array.isArray(architectures) ? architectures : [];
  if (type !== 'llama') throw refused(`model_type is ${JSON.stringify(type) ?? 'missing'}`, 'Attune serves llama only');
  if (classes.length > 0 && !(classes.length === 1 && classes[0] === 'LlamaForCausalLM')) {
    throw refused(`architectures is ${JSON.stringify(classes)}`, 'Attune serves LlamaForCausalLM only');
  }
  const fixed: Record<string, readonly unknown[]> = {
    hidden_act: ['silu'],
    attention_bias: [false],
    mlp_bias: [false],
    rope_interleaved: [false],
    partial_rotary_factor: [1],
    quantization_config: [],
    sliding_window: [],
  };
  for (const [field, allowed] of Object.entries(fixed)) {
    const value = config[field] ?? null;
    if (value === null || allowed.includes(value)) continue;
    const remedy =
      allowed.length > 0 ? `Attune serves ${JSON.stringify(allowed[0])} only` : 'Attune serves models without it';
    throw refused(`${field} is ${JSON.stringify(value)}`, remedy);
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown, file: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => {
    const field = issue.path.join('.');
    const missing = issue.path.length === 1 && (value as Record<string, unknown>)[field] === undefined;
    return missing ? `${field} is missing` : `${field || 'it'}: ${issue.message}`;
  });
  throw new AttuneError(`${file}: ${fields.join(', ')}; export the checkpoint again`, { code: 'invalid_checkpoint' });
}

function refused(problem: string, remedy: string): AttuneError {
  return new AttuneError(`config.json: ${problem}; ${remedy}`, { code: 'unsupported_architecture' });
}

/** The config.json of a checkpoint that Attune writes; parseArchitecture reads it back unchanged. */
export function buildConfig(a: Architecture): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: a.hiddenSize,
    intermediate_size: a.intermediateSize,
    num_hidden_layers: a.layers,
    num_attention_heads: a.heads,
    num_key_value_heads: a.kvHeads,
    head_dim: a.headDim,
    vocab_size: a.vocabSize,
    max_position_embeddings: a.contextLength,
    rms_norm_eps: a.normEpsilon,
    rope_theta: a.ropeTheta,
    rope_scaling: null,
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    attention_dropout: 0,
    tie_word_embeddings: a.tied,
    bos_token_id: a.bos,
    eos_token_id: a.eos.length === 1 ? a.eos[0] : a.eos,
    torch_dtype: 'float32',
    use_cache: true,
  };
}

/** The generation_config.json that goes with it. */
export function buildGenerationConfig(a: Architecture): Record<string, unknown> {
  return { bos_token_id: a.bos, eos_token_id: a.eos };
}
