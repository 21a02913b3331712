// Writes a Llama checkpoint as a GGUF file (version 3) for llama.cpp: F32, or Q8_0 and Q4_0 with the types that its
// quantizer selects. The vocabulary consists of placeholders, because the benchmark uses token ids only.
import { open } from 'node:fs/promises';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tensor, Weights } from '../../shared/model/tensor.ts';
import { formatByteToken } from '../../shared/tokenizer/bpe.ts';
import { BLOCK_SIZE, encodeQ4, encodeQ8, Q4_BYTES, Q8_BYTES } from './gguf-blocks.ts';

const GGUF_TYPES = ['F32', 'Q8_0', 'Q4_0'] as const;
export type GgufType = (typeof GGUF_TYPES)[number];

type TensorType = { id: number; blockBytes: number; block: number; encode(data: Float32Array): Uint8Array };
type Entry = { name: string; tensor: Tensor; type: TensorType };

const ALIGNMENT = 32;
const FILE_TYPES: Record<GgufType, number> = { F32: 0, Q8_0: 7, Q4_0: 2 };

const TENSOR_TYPES: Record<GgufType | 'F16', TensorType> = {
  F32: { id: 0, block: 1, blockBytes: 4, encode: toBytes },
  F16: { id: 1, block: 1, blockBytes: 2, encode: (data) => toBytes(new Float16Array(data)) },
  Q8_0: { id: 8, block: BLOCK_SIZE, blockBytes: Q8_BYTES, encode: encodeQ8 },
  Q4_0: { id: 2, block: BLOCK_SIZE, blockBytes: Q4_BYTES, encode: encodeQ4 },
};

export async function writeGguf(path: string, a: Architecture, weights: Weights, type: GgufType): Promise<void> {
  if (a.family !== 'llama' || a.ropeScaling || Object.values(a.biases).includes(true))
    throw new AttuneError(
      `--models: gguf: ${a.family} cannot be written as GGUF; use a plain Llama or exclude the peer llama`,
    );
  const entries = listTensors(a, weights, type);
  const header = new Header();
  writeMetadata(header, a, type, entries.length);
  let offset = 0;
  for (const { name, tensor, type } of entries) {
    header.text(name).u32(tensor.shape.length);
    for (const extent of tensor.shape.toReversed()) header.u64(extent);
    header.u32(type.id).u64(offset);
    offset += align((tensor.data.length / type.block) * type.blockBytes);
  }
  const file = await open(path, 'w');
  try {
    const bytes = header.bytes();
    let at = align(bytes.length);
    await file.write(bytes, 0, bytes.length, 0);
    for (const { tensor, type } of entries) {
      const encoded = type.encode(tensor.data);
      await file.write(encoded, 0, encoded.length, at);
      at += align(encoded.length);
    }
    await file.truncate(at);
  } finally {
    await file.close();
  }
}

function writeMetadata(header: Header, a: Architecture, type: GgufType, tensors: number): void {
  const tokens = Array.from({ length: a.vocabSize }, (_, id) => tokenName(id));
  const values: [string, (header: Header) => void][] = [
    ['general.architecture', (h) => h.u32(8).text('llama')],
    ['general.file_type', (h) => h.u32(4).u32(FILE_TYPES[type])],
    ['llama.context_length', (h) => h.u32(4).u32(a.contextLength)],
    ['llama.embedding_length', (h) => h.u32(4).u32(a.hiddenSize)],
    ['llama.block_count', (h) => h.u32(4).u32(a.layers)],
    ['llama.feed_forward_length', (h) => h.u32(4).u32(a.intermediateSize)],
    ['llama.vocab_size', (h) => h.u32(4).u32(a.vocabSize)],
    ['llama.attention.head_count', (h) => h.u32(4).u32(a.heads)],
    ['llama.attention.head_count_kv', (h) => h.u32(4).u32(a.kvHeads)],
    ['llama.attention.key_length', (h) => h.u32(4).u32(a.headDim)],
    ['llama.attention.value_length', (h) => h.u32(4).u32(a.headDim)],
    ['llama.attention.layer_norm_rms_epsilon', (h) => h.u32(6).f32(a.normEpsilon)],
    ['llama.rope.freq_base', (h) => h.u32(6).f32(a.ropeTheta)],
    ['llama.rope.dimension_count', (h) => h.u32(4).u32(a.headDim)],
    ['tokenizer.ggml.model', (h) => h.u32(8).text('llama')],
    ['tokenizer.ggml.tokens', (h) => h.u32(9).array(8, tokens, (token) => h.text(token))],
    ['tokenizer.ggml.scores', (h) => h.u32(9).array(6, tokens, () => h.f32(0))],
    ['tokenizer.ggml.token_type', (h) => h.u32(9).array(5, tokens, (_, id) => h.u32(tokenType(id)))],
    ['tokenizer.ggml.bos_token_id', (h) => h.u32(4).u32(1)],
    ['tokenizer.ggml.eos_token_id', (h) => h.u32(4).u32(2)],
  ];
  header.text('GGUF', { bare: true }).u32(3).u64(tensors).u64(values.length);
  for (const [key, write] of values) {
    header.text(key);
    write(header);
  }
}

// llama.cpp requires a vocabulary with a token for each byte.
const FIRST_TEXT = 3 + 256;
const tokenName = (id: number) =>
  ['<unk>', '<s>', '</s>'][id] ?? (id < FIRST_TEXT ? formatByteToken(id - 3) : `\u2581t${id}`);
/** llama.cpp's token types: 1 normal, 2 unknown, 3 control, 6 byte. */
const tokenType = (id: number) => (id === 0 ? 2 : id < 3 ? 3 : id < FIRST_TEXT ? 6 : 1);

function listTensors(a: Architecture, weights: Weights, type: GgufType): Entry[] {
  const getTensor = (name: string) => weights.get(`${name}.weight`)!;
  // Rows that are not a multiple of the block size become F16, as in llama.cpp's quantizer.
  const matrix = (name: string, tensor: Tensor, requested: GgufType = type): Entry => ({
    name: `${name}.weight`,
    tensor,
    type: tensor.shape[1]! % TENSOR_TYPES[requested].block === 0 ? TENSOR_TYPES[requested] : TENSOR_TYPES.F16,
  });
  const vector = (name: string, tensor: Tensor): Entry => ({ name: `${name}.weight`, tensor, type: TENSOR_TYPES.F32 });
  // llama.cpp's quantizer gives the output layer and the embedding table more bits.
  const table = type === 'Q4_0' ? 'Q8_0' : type;
  const entries = [matrix('token_embd', getTensor('model.embed_tokens'), table)];
  for (let layer = 0; layer < a.layers; layer++) {
    const from = `model.layers.${layer}`;
    const to = `blk.${layer}`;
    entries.push(
      vector(`${to}.attn_norm`, getTensor(`${from}.input_layernorm`)),
      matrix(`${to}.attn_q`, interleaveRotaryRows(getTensor(`${from}.self_attn.q_proj`), a.heads)),
      matrix(`${to}.attn_k`, interleaveRotaryRows(getTensor(`${from}.self_attn.k_proj`), a.kvHeads)),
      matrix(`${to}.attn_v`, getTensor(`${from}.self_attn.v_proj`)),
      matrix(`${to}.attn_output`, getTensor(`${from}.self_attn.o_proj`)),
      vector(`${to}.ffn_norm`, getTensor(`${from}.post_attention_layernorm`)),
      matrix(`${to}.ffn_gate`, getTensor(`${from}.mlp.gate_proj`)),
      matrix(`${to}.ffn_up`, getTensor(`${from}.mlp.up_proj`)),
      matrix(`${to}.ffn_down`, getTensor(`${from}.mlp.down_proj`)),
    );
  }
  entries.push(vector('output_norm', getTensor('model.norm')));
  if (!a.tied) entries.push(matrix('output', getTensor('lm_head'), table));
  return entries;
}

/**
 * Hugging Face rotates row i of a head with row i + hd/2, llama.cpp adjacent rows: permutes rows [heads, 2, hd/2] to
 * [heads, hd/2, 2].
 */
function interleaveRotaryRows({ shape, data }: Tensor, heads: number): Tensor {
  const [rows, columns] = shape as [number, number];
  const half = rows / heads / 2;
  const paired = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const head = Math.floor(row / (2 * half));
    const within = row % (2 * half);
    const to = head * 2 * half + (within % half) * 2 + Math.floor(within / half);
    paired.set(data.subarray(row * columns, (row + 1) * columns), to * columns);
  }
  return { shape, data: paired };
}

function toBytes(data: Float32Array | Float16Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function align(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

/** Appends little-endian numbers and length-prefixed strings. */
class Header {
  private readonly parts: Uint8Array[] = [];

  u32(value: number): this {
    return this.push(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number): this {
    return this.push(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  f32(value: number): this {
    return this.push(4, (view) => view.setFloat32(0, value, true));
  }

  text(value: string, { bare = false } = {}): this {
    const bytes = new TextEncoder().encode(value);
    if (!bare) this.u64(bytes.length);
    this.parts.push(bytes);
    return this;
  }

  array<T>(type: number, items: T[], write: (item: T, index: number) => void): this {
    this.u32(type).u64(items.length);
    for (const [index, item] of items.entries()) write(item, index);
    return this;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.parts);
  }

  private push(length: number, write: (view: DataView) => void): this {
    const view = new DataView(new ArrayBuffer(length));
    write(view);
    this.parts.push(new Uint8Array(view.buffer));
    return this;
  }
}
