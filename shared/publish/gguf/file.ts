// A GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata, then tensors, each of its own type.
// The header is parsed by Hugging Face's library. A damaged or unsupported file is rejected as a whole, by name.
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { GGMLQuantizationType, type GGUFParseOutput, gguf } from '@huggingface/gguf';
import { AttuneError, getErrorMessage } from '../../error.ts';
import { BFLOAT16, type Encoding, FLOAT16, FLOAT32 } from '../../model/encoding.ts';
import { elementCount, type LazyTensor, type LazyWeights } from '../../model/tensor.ts';
import { damagedFile, openTensor } from '../../model/tensor-file.ts';
import { Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0 } from './blocks.ts';

export type GgufFile = { fileName: string; metadata: Readonly<Record<string, unknown>>; tensors: LazyWeights };

type Header = GGUFParseOutput<{ strict: false }>;
type TensorInfo = Header['tensorInfos'][number];

const ENCODINGS: Record<string, Encoding> = {
  F32: FLOAT32,
  F16: FLOAT16,
  BF16: BFLOAT16,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
};

/** Validates the header and returns the tensors, which are read as float32 when they are needed. Throws AttuneError. */
export async function openGguf(path: string): Promise<GgufFile> {
  const fileName = basename(path);
  const { size } = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new AttuneError(`policies import: ${path} does not exist`, { param: 'source', code: 'invalid_source' });
  });
  const header = await parseHeader(path, fileName);
  validateHeader(header, size, fileName);
  const tensors = new Map<string, LazyTensor>();
  for (const info of header.tensorInfos) {
    if (tensors.has(info.name)) throw damagedFile(fileName, `tensor ${info.name} is there twice`);
    tensors.set(info.name, toTensor(path, info, Number(header.tensorDataOffset), size));
  }
  return { fileName, metadata: header.metadata, tensors };
}

async function parseHeader(path: string, fileName: string): Promise<Header> {
  try {
    return (await gguf(path, { allowLocalFile: true })) as Header;
  } catch (error) {
    throw damagedFile(fileName, `the GGUF header cannot be read (${getErrorMessage(error)})`);
  }
}

function validateHeader({ littleEndian, metadata, tensorInfoByteRange }: Header, size: number, fileName: string): void {
  if (!littleEndian)
    throw unsupportedGguf(fileName, 'its numbers are big-endian', 'convert the model to little-endian');
  if (metadata.version === 1) throw unsupportedGguf(fileName, 'it is of GGUF version 1', 'convert the model again');
  const parts = Number(metadata['split.count'] ?? 1);
  if (parts > 1)
    throw unsupportedGguf(fileName, `it is one of ${parts} parts`, 'merge them with llama-gguf-split --merge');
  // The parser reads zeros behind the end of the file.
  if (tensorInfoByteRange[1] > size)
    throw damagedFile(fileName, `the file ends inside its header, after ${size} bytes`);
}

function toTensor(path: string, { name, shape, dtype, offset }: TensorInfo, dataStart: number, size: number) {
  const fileName = basename(path);
  const typeName = GGMLQuantizationType[dtype] ?? `of type ${dtype}`;
  const encoding = ENCODINGS[typeName];
  if (!encoding)
    throw unsupportedGguf(
      fileName,
      `tensor ${name} is ${typeName}`,
      `Attune reads ${Object.keys(ENCODINGS).join(', ')}; choose a file of another quantization`,
    );
  // The fastest dimension is the first in GGUF.
  const extents = shape.map(Number).toReversed();
  const count = elementCount(extents);
  if (!Number.isSafeInteger(count) || (extents.at(-1) ?? 1) % encoding.values !== 0)
    throw damagedFile(fileName, `tensor ${name} has shape [${extents.join(', ')}], which ${typeName} cannot have`);
  const begin = dataStart + Number(offset);
  const end = begin + (count / encoding.values) * encoding.bytes;
  if (end > size) throw damagedFile(fileName, `tensor ${name} ends at byte ${end} of ${size}; the file is cut short`);
  return openTensor(path, begin, extents, encoding);
}

export function unsupportedGguf(fileName: string, problem: string, remedy: string): AttuneError {
  return new AttuneError(`${fileName}: ${problem}; ${remedy}`, { code: 'unsupported_gguf' });
}
