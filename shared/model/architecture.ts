// The architecture of a policy's decoder: its sizes, and which norm, activation, biases and positions it has. The
// trainer, both ONNX graphs and the reference decoder read this description and never the family's name.
import { z } from 'zod';

/** `model_type` in config.json. */
export const FAMILY_NAMES = ['llama', 'mistral', 'qwen2', 'qwen3', 'gpt2', 'gpt_neox', 'gemma'] as const;
export type FamilyName = (typeof FAMILY_NAMES)[number];

const size = z.int().nonnegative();
const factor = z.number();

/** Scaling of the rotary frequencies, for contexts longer than the model was first trained on. */
const ropeScalingSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('linear'), factor }),
  z.object({
    type: z.literal('llama3'),
    factor,
    lowFrequencyFactor: factor,
    highFrequencyFactor: factor,
    originalContext: size,
  }),
]);

/** The defaults are Llama's: manifests written before Attune had other families contain sizes only. */
const variantSchema = z.object({
  /** Determines the names and layouts in the checkpoint and its config.json. */
  family: z.enum(FAMILY_NAMES).default('llama'),
  /** RMSNorm, or LayerNorm with a bias. */
  norm: z.enum(['rms', 'layer']).default('rms'),
  activation: z.enum(['silu', 'gelu', 'gelu_tanh']).default('silu'),
  /** down(act(gate) · up) if true, else down(act(up)). */
  gated: z.boolean().default(true),
  /** Which projections have a bias: queries, keys and values; the attention's output; the feed-forward. */
  biases: z
    .object({ qkv: z.boolean(), output: z.boolean(), mlp: z.boolean() })
    .default({ qkv: false, output: false, mlp: false }),
  /** An RMSNorm over each head of queries and keys, before the rotary embedding. */
  queryKeyNorm: z.boolean().default(false),
  positions: z.enum(['rotary', 'learned']).default('rotary'),
  /** Share of each head's dimensions that the rotary embedding rotates. */
  rotaryShare: factor.default(1),
  ropeScaling: ropeScalingSchema.nullable().default(null),
  /** Attention and feed-forward both read the same residual stream, and their outputs are added to it together. */
  parallelResidual: z.boolean().default(false),
  /** What the output layer gives: logits over the vocabulary, or a reward r(x, y) at the last token of y. */
  output: z.enum(['logits', 'reward']).default('logits'),
  /** Factor applied to input embeddings. */
  embeddingScale: factor.default(1),
});

export const architectureSchema = variantSchema.extend({
  hiddenSize: size,
  intermediateSize: size,
  layers: size,
  heads: size,
  /** Key and value heads; each serves heads / kvHeads query heads. */
  kvHeads: size,
  headDim: size,
  vocabSize: size,
  contextLength: size,
  normEpsilon: z.number(),
  ropeTheta: z.number(),
  /** Whether the output layer shares the embedding table. */
  tied: z.boolean(),
  bos: size.nullable(),
  /** Every token that ends a response. */
  eos: z.array(size),
});

export type RopeScaling = z.infer<typeof ropeScalingSchema>;
/** An architecture without its sizes. */
export type ArchitectureVariant = z.infer<typeof variantSchema>;
export type Activation = ArchitectureVariant['activation'];
export type Architecture = z.infer<typeof architectureSchema>;

export const LLAMA: ArchitectureVariant = variantSchema.parse({});

/** Number of leading dimensions of each head that the rotary embedding rotates. */
export function rotaryDims(a: Architecture): number {
  return Math.trunc(a.headDim * a.rotaryShare);
}

/**
 * The shape of every tensor, in checkpoint order, under Attune's names: those of Llama checkpoints, matrices [out, in].
 * Families convert from and to these.
 */
export function weightShapes(a: Architecture): Map<string, number[]> {
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  const shapes = new Map<string, number[]>([['model.embed_tokens.weight', [a.vocabSize, a.hiddenSize]]]);
  const setLinear = (name: string, out: number, into: number, hasBias: boolean) => {
    shapes.set(`${name}.weight`, [out, into]);
    if (hasBias) shapes.set(`${name}.bias`, [out]);
  };
  const setNorm = (name: string) => {
    shapes.set(`${name}.weight`, [a.hiddenSize]);
    if (a.norm === 'layer') shapes.set(`${name}.bias`, [a.hiddenSize]);
  };
  if (a.positions === 'learned') shapes.set('model.embed_positions.weight', [a.contextLength, a.hiddenSize]);
  for (let layer = 0; layer < a.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    setNorm(`${prefix}.input_layernorm`);
    setLinear(`${prefix}.self_attn.q_proj`, queries, a.hiddenSize, a.biases.qkv);
    setLinear(`${prefix}.self_attn.k_proj`, keys, a.hiddenSize, a.biases.qkv);
    setLinear(`${prefix}.self_attn.v_proj`, keys, a.hiddenSize, a.biases.qkv);
    if (a.queryKeyNorm) {
      shapes.set(`${prefix}.self_attn.q_norm.weight`, [a.headDim]);
      shapes.set(`${prefix}.self_attn.k_norm.weight`, [a.headDim]);
    }
    setLinear(`${prefix}.self_attn.o_proj`, a.hiddenSize, queries, a.biases.output);
    setNorm(`${prefix}.post_attention_layernorm`);
    if (a.gated) setLinear(`${prefix}.mlp.gate_proj`, a.intermediateSize, a.hiddenSize, a.biases.mlp);
    setLinear(`${prefix}.mlp.up_proj`, a.intermediateSize, a.hiddenSize, a.biases.mlp);
    setLinear(`${prefix}.mlp.down_proj`, a.hiddenSize, a.intermediateSize, a.biases.mlp);
  }
  setNorm('model.norm');
  if (a.output === 'reward') shapes.set(REWARD_HEAD, [1, a.hiddenSize]);
  else if (!a.tied) shapes.set('lm_head.weight', [a.vocabSize, a.hiddenSize]);
  return shapes;
}

/** A reward's output layer, [1, d]; the name in transformers' classes ForSequenceClassification. */
export const REWARD_HEAD = 'score.weight';
