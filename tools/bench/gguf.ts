// Writes a Llama checkpoint as a GGUF file (version 3), which is what llama.cpp loads: F32, or the block types Q8_0 and
// Q4_0 as its own quantizer chooses them. The vocabulary is placeholders, because the benchmark speaks token ids.
import { open } from 'node:fs/promises';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tensor, Weights } from '../../shared/model/safetensors.ts';
import { nameByte } from '../../shared/tokenizer/bpe.ts';
import { BLOCK, encodeQ4, encodeQ8, Q4_BYTES, Q8_BYTES } from './gguf-blocks.ts';

export const GGUF_TYPES = ['F32', 'Q8_0', 'Q4_0'] as const;
export type GgufType = (typeof GGUF_TYPES)[number];

type Stored = { id: number; blockBytes: number; block: number; encode(data: Float32Array): Uint8Array };
type Entry = { name: string; tensor: Tensor; type: Stored };

const ALIGNMENT = 32;
const FILE_TYPE: Record<GgufType, number> = { F32: 0, Q8_0: 7, Q4_0: 2 };

const TYPES: Record<GgufType | 'F16', Stored> = {
  F32: { id: 0, block: 1, blockBytes: 4, encode: bytesOf },
  F16: { id: 1, block: 1, blockBytes: 2, encode: (data) => bytesOf(new Float16Array(data)) },
  Q8_0: { id: 8, block: BLOCK, blockBytes: Q8_BYTES, encode: encodeQ8 },
  Q4_0: { id: 2, block: BLOCK, blockBytes: Q4_BYTES, encode: encodeQ4 },
};

export async function writeGguf(path: string, a: Architecture, weights: Weights, type: GgufType): Promise<void> {
  if (a.family !== 'llama' || a.ropeScaling || Object.values(a.biases).includes(true))
    throw new AttuneError(
      `--models: gguf: ${a.family} is not written as GGUF; measure a plain Llama, or leave llama out`,
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
  const tokens = Array.from({ length: a.vocabSize }, (_, id) => nameToken(id));
  const values: [string, (header: Header) => void][] = [
    ['general.architecture', (h) => h.u32(8).text('llama')],
    ['general.file_type', (h) => h.u32(4).u32(FILE_TYPE[type])],
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
    ['tokenizer.ggml.token_type', (h) => h.u32(9).array(5, tokens, (_, id) => h.u32(typeToken(id)))],
    ['tokenizer.ggml.bos_token_id', (h) => h.u32(4).u32(1)],
    ['tokenizer.ggml.eos_token_id', (h) => h.u32(4).u32(2)],
  ];
  header.text('GGUF', { bare: true }).u32(3).u64(tensors).u64(values.length);
  for (const [key, write] of values) {
    header.text(key);
    write(header);
  }
}

// llama.cpp does not load a vocabulary without a token for each byte.
const FIRST_TEXT = 3 + 256;
const nameToken = (id: number) => ['<unk>', '<s>', '</s>'][id] ?? (id < FIRST_TEXT ? nameByte(id - 3) : `\u2581t${id}`);
/** llama.cpp's numbers: 1 is text, 2 unknown, 3 control, 6 a byte. */
const typeToken = (id: number) => (id === 0 ? 2 : id < 3 ? 3 : id < FIRST_TEXT ? 6 : 1);

function listTensors(a: Architecture, weights: Weights, type: GgufType): Entry[] {
  const take = (name: string) => weights.get(`${name}.weight`)!;
  // Rows that are no whole number of blocks stay half floats, as llama.cpp's quantizer leaves them.
  const matrix = (name: string, tensor: Tensor, wanted: GgufType = type): Entry => ({
    name: `${name}.weight`,
    tensor,
    type: tensor.shape[1]! % TYPES[wanted].block === 0 ? TYPES[wanted] : TYPES.F16,
  });
  const vector = (name: string, tensor: Tensor): Entry => ({ name: `${name}.weight`, tensor, type: TYPES.F32 });
  // The quantizer gives the output layer, and a table that serves as one, more bits than the rest.
  const table = type === 'Q4_0' ? 'Q8_0' : type;
  const entries = [matrix('token_embd', take('model.embed_tokens'), table)];
  for (let layer = 0; layer < a.layers; layer++) {
    const from = `model.layers.${layer}`;
    const to = `blk.${layer}`;
    entries.push(
      vector(`${to}.attn_norm`, take(`${from}.input_layernorm`)),
      matrix(`${to}.attn_q`, pairRotations(take(`${from}.self_attn.q_proj`), a.heads)),
      matrix(`${to}.attn_k`, pairRotations(take(`${from}.self_attn.k_proj`), a.kvHeads)),
      matrix(`${to}.attn_v`, take(`${from}.self_attn.v_proj`)),
      matrix(`${to}.attn_output`, take(`${from}.self_attn.o_proj`)),
      vector(`${to}.ffn_norm`, take(`${from}.post_attention_layernorm`)),
      matrix(`${to}.ffn_gate`, take(`${from}.mlp.gate_proj`)),
      matrix(`${to}.ffn_up`, take(`${from}.mlp.up_proj`)),
      matrix(`${to}.ffn_down`, take(`${from}.mlp.down_proj`)),
    );
  }
  entries.push(vector('output_norm', take('model.norm')));
  if (!a.tied) entries.push(matrix('output', take('lm_head'), table));
  return entries;
}

/**
 * Hugging Face rotates row i of a head together with row i + hd/2, llama.cpp neighbours: rows [heads, 2, hd/2] become
 * rows [heads, hd/2, 2].
 */
function pairRotations({ shape, data }: Tensor, heads: number): Tensor {
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

function bytesOf(data: Float32Array | Float16Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function align(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

/** Little-endian numbers and length-prefixed texts, one after another. */
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
