// The names and layouts of a GGUF file's tensors, as llama.cpp's converter writes them.
import { type Architecture, weightShapes } from '../../model/architecture.ts';
import type { StoredTensor, TensorFormat } from '../../model/families/family.ts';
import { adjacentPairs, stacked, unchanged } from '../../model/families/tensor-layouts.ts';

const NAMES: Record<string, string> = {
  'model.embed_tokens': 'token_embd',
  'model.embed_positions': 'position_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
};
const LAYER_NAMES: Record<string, string> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

export const GGUF_FORMAT: TensorFormat = {
  tensors: (a) => Array.from(weightShapes(a).keys()).flatMap((part) => listStored(a, part)),
  /** Factors of the rotary frequencies, which the architecture determines. */
  buffers: /^rope_freqs\.weight$/,
};

/** The tensor whose first part this is. */
function listStored(a: Architecture, part: string): StoredTensor[] {
  const [, layer, module, kind] = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(part)!;
  if (layer === undefined) return [{ name: `${NAMES[module!]}.${kind}`, parts: [part], layout: unchanged }];
  const name = `blk.${layer}.${LAYER_NAMES[module!]}.${kind}`;
  const projection = /^self_attn\.([qkv])_proj$/.exec(module!)?.[1];
  if (projection && (a.family === 'gpt2' || a.family === 'gpt_neox')) {
    if (projection !== 'q') return [];
    const parts = ['q', 'k', 'v'].map((each) => `model.layers.${layer}.self_attn.${each}_proj.${kind}`);
    return [{ name: `blk.${layer}.attn_qkv.${kind}`, parts, layout: stacked }];
  }
  const isPermuted = a.family === 'llama' && (projection === 'q' || projection === 'k');
  return [{ name, parts: [part], layout: isPermuted ? adjacentPairs(a.headDim) : unchanged }];
}
