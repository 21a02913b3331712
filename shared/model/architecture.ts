// What a policy's decoder is: its sizes, and which of a few kinds of mathematics its parts have. One decoder is described
// by this in every place that computes it; a model family is only a way to write such a description and the weights down.
export const FAMILY_NAMES = ['llama', 'mistral', 'qwen2', 'qwen3', 'gpt2', 'gpt_neox', 'gemma'] as const;
/** As `model_type` of a config.json. */
export type FamilyName = (typeof FAMILY_NAMES)[number];

export const ACTIVATIONS = ['silu', 'gelu', 'gelu_tanh'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/** How angles are slowed so that a model reaches further than it was first trained to. */
export type RopeScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      lowFrequencyFactor: number;
      highFrequencyFactor: number;
      originalContext: number;
    };

export type ArchitectureVariant = {
  /** How the checkpoint and its config.json are written down. */
  family: FamilyName;
  /** RMSNorm, or LayerNorm with a bias. */
  norm: 'rms' | 'layer';
  activation: Activation;
  /** down(act(gate) · up), or down(act(up)). */
  gated: boolean;
  /** Which products have a bias: queries, keys and values; the attention's output; the feed-forward. */
  biases: { qkv: boolean; output: boolean; mlp: boolean };
  /** An RMSNorm over each head of queries and keys, before they are turned. */
  queryKeyNorm: boolean;
  positions: 'rotary' | 'learned';
  /** The share of a head's dimensions that rotary positions turn. */
  rotaryShare: number;
  ropeScaling: RopeScaling | null;
  /** Attention and feed-forward read the same residual stream and are added together. */
  parallelResidual: boolean;
  /** What rows of the embedding table are multiplied by as inputs. */
  embeddingScale: number;
};

export type Architecture = ArchitectureVariant & {
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

/** The mathematics of a plain Llama. */
export const LLAMA: ArchitectureVariant = {
  family: 'llama',
  norm: 'rms',
  activation: 'silu',
  gated: true,
  biases: { qkv: false, output: false, mlp: false },
  queryKeyNorm: false,
  positions: 'rotary',
  rotaryShare: 1,
  ropeScaling: null,
  parallelResidual: false,
  embeddingScale: 1,
};

/** How many dimensions of a head rotary positions turn: the first ones. */
export function rotaryDims(a: Architecture): number {
  return Math.trunc(a.headDim * a.rotaryShare);
}

/**
 * Every tensor of this architecture with its shape, in checkpoint order, by the names that all of Attune uses: those of
 * Llama's checkpoints, matrices [out, in]. Families translate from and to them.
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
  if (!a.tied) shapes.set('lm_head.weight', [a.vocabSize, a.hiddenSize]);
  return shapes;
}
