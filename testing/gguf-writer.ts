// Writes a policy as a GGUF file (version 3), for llama.cpp and for tests: with the tensors' names and layouts that llama.cpp
// reads, F32, or with the types that its quantizer selects.
import { type FileHandle, open } from 'node:fs/promises';
import { AttuneError } from '../shared/error.ts';
import type { Architecture } from '../shared/model/architecture.ts';
import { elementCount, type LazyWeights, readTensor } from '../shared/model/tensor.ts';
import { GGUF_FORMAT } from '../shared/publish/gguf/tensors.ts';
import { formatByteToken } from '../shared/tokenizer/bpe.ts';
import { BLOCK_SIZE, encodeQ4, encodeQ8, Q4_BYTES, Q8_BYTES } from './gguf-blocks.ts';
import { GgufHeader, type GgufMetadata } from './gguf-header.ts';

export type GgufType = 'F32' | 'Q8_0' | 'Q4_0';

export type GgufOptions = {
  /** Of the matrices; default: F32. */
  type?: GgufType;
  /** Further metadata, or other values; default: a vocabulary of placeholders, for callers that use token ids only. */
  metadata?: GgufMetadata;
  /** Further vectors. */
  extra?: Record<string, Float32Array>;
  /** Gives a tensor's type and bytes, in place of its values; undefined: the usual ones. */
  encode?(name: string, shape: number[]): { typeId: number; bytes: Uint8Array } | undefined;
};

type TensorType = { id: number; block: number; blockBytes: number; encode(data: Float32Array): Uint8Array };

const TENSOR_TYPES: Record<GgufType | 'F16', TensorType> = {
  F32: { id: 0, block: 1, blockBytes: 4, encode: toBytes },
  F16: { id: 1, block: 1, blockBytes: 2, encode: (data) => toBytes(new Float16Array(data)) },
  Q8_0: { id: 8, block: BLOCK_SIZE, blockBytes: Q8_BYTES, encode: encodeQ8 },
  Q4_0: { id: 2, block: BLOCK_SIZE, blockBytes: Q4_BYTES, encode: encodeQ4 },
};
const ALIGNMENT = 32;

export async function writeGguf(path: string, a: Architecture, weights: LazyWeights, options: GgufOptions = {}) {
  const { type = 'F32', encode = () => undefined } = options;
  const vocabulary = options.metadata?.['tokenizer.ggml.model'] ? {} : placeholders(a.vocabSize);
  const metadata = { ...describeArchitecture(a), ...vocabulary, ...options.metadata };
  const entries = GGUF_FORMAT.tensors(a).map(({ name, parts, layout }) => {
    const shape = layout.storedShape(parts.map((part) => weights.get(part)!.shape));
    const given = encode(name, shape);
    const stored = TENSOR_TYPES[selectType(name, shape, type)];
    const length = given?.bytes.length ?? (elementCount(shape) / stored.block) * stored.blockBytes;
    const readParts = () => Promise.all(parts.map((part) => readTensor(weights.get(part)!)));
    const read = async () => given?.bytes ?? stored.encode(layout.join(await readParts()).data);
    return { name, shape, typeId: given?.typeId ?? stored.id, length, read };
  });
  for (const [name, data] of Object.entries(options.extra ?? {}))
    entries.push({ name, shape: [data.length], typeId: 0, length: data.byteLength, read: async () => toBytes(data) });
  const header = new GgufHeader(metadata, entries.length);
  let offset = 0;
  for (const { name, shape, typeId, length } of entries) {
    header.tensor(name, shape, typeId, offset);
    offset += align(length);
  }
  const file = await open(path, 'w');
  try {
    const bytes = header.bytes();
    let at = align(await write(file, bytes, 0));
    for (const { read } of entries) at = align(await write(file, await read(), at));
    await file.truncate(at);
  } finally {
    await file.close();
  }
}

async function write(file: FileHandle, bytes: Uint8Array, at: number): Promise<number> {
  await file.write(bytes, 0, bytes.length, at);
  return at + bytes.length;
}

/** llama.cpp's quantizer gives the tables more bits, and F16 to rows that are not a multiple of the block size. */
function selectType(name: string, shape: number[], type: GgufType): GgufType | 'F16' {
  if (shape.length === 1) return 'F32';
  const requested = type === 'Q4_0' && /^(token_embd|output)\./.test(name) ? 'Q8_0' : type;
  return shape[1]! % TENSOR_TYPES[requested].block === 0 ? requested : 'F16';
}

const ARCHITECTURE_NAMES: Partial<Record<Architecture['family'], string>> = { mistral: 'llama', gpt_neox: 'gptneox' };

function describeArchitecture(a: Architecture): GgufMetadata {
  if (a.ropeScaling)
    throw new AttuneError(
      'gguf: a scaled rotary embedding cannot be written; use another model, or leave llama.cpp out',
    );
  const name = ARCHITECTURE_NAMES[a.family] ?? a.family;
  const epsilon = a.norm === 'rms' ? 'layer_norm_rms_epsilon' : 'layer_norm_epsilon';
  return {
    'general.architecture': ['text', name],
    [`${name}.context_length`]: ['u32', a.contextLength],
    [`${name}.embedding_length`]: ['u32', a.hiddenSize],
    [`${name}.block_count`]: ['u32', a.layers],
    [`${name}.feed_forward_length`]: ['u32', a.intermediateSize],
    [`${name}.vocab_size`]: ['u32', a.vocabSize],
    [`${name}.attention.head_count`]: ['u32', a.heads],
    [`${name}.attention.head_count_kv`]: ['u32', a.kvHeads],
    [`${name}.attention.key_length`]: ['u32', a.headDim],
    [`${name}.attention.value_length`]: ['u32', a.headDim],
    [`${name}.attention.${epsilon}`]: ['f32', a.normEpsilon],
    [`${name}.rope.freq_base`]: ['f32', a.ropeTheta],
    [`${name}.rope.dimension_count`]: ['u32', a.headDim * a.rotaryShare],
    [`${name}.use_parallel_residual`]: ['bool', a.parallelResidual],
    'tokenizer.ggml.bos_token_id': ['u32', a.bos ?? 1],
    'tokenizer.ggml.eos_token_id': ['u32', a.eos[0] ?? 2],
  };
}

/** llama.cpp requires a vocabulary with a token for each byte. */
function placeholders(vocabSize: number): GgufMetadata {
  const firstText = 3 + 256;
  const ids = Array.from({ length: vocabSize }, (_, id) => id);
  const nameOf = (id: number) =>
    ['<unk>', '<s>', '</s>'][id] ?? (id < firstText ? formatByteToken(id - 3) : `\u2581t${id}`);
  // 1 normal, 2 unknown, 3 control, 6 byte
  const typeOf = (id: number) => (id === 0 ? 2 : id < 3 ? 3 : id < firstText ? 6 : 1);
  return {
    'tokenizer.ggml.model': ['text', 'llama'],
    'tokenizer.ggml.tokens': ['texts', ids.map(nameOf)],
    'tokenizer.ggml.scores': ['f32s', ids.map(() => 0)],
    'tokenizer.ggml.token_type': ['i32s', ids.map(typeOf)],
  };
}

function toBytes(data: Float32Array | Float16Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function align(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}
