// Reads the bytes and the encoded tensors of a checkpoint's file.
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { AttuneError } from '../error.ts';
import type { Encoding } from './encoding.ts';
import { elementCount, type LazyTensor } from './tensor.ts';

/** Node reads at most 2 GiB at a time; also the scratch space for decoding. */
const CHUNK_BYTES = 1 << 20;

/** A tensor at a position of a file, which is open only while the tensor is read: nobody needs to close it. */
export function openTensor(path: string, position: number, shape: number[], encoding: Encoding): LazyTensor {
  return {
    shape,
    read: () => withFile(path, (file) => readEncoded(file, basename(path), position, elementCount(shape), encoding)),
  };
}

async function readEncoded(
  file: FileHandle,
  fileName: string,
  position: number,
  count: number,
  { values, bytes, decode }: Encoding,
): Promise<Float32Array> {
  const data = new Float32Array(count);
  const blocks = count / values;
  const scratch = new Uint8Array(Math.min(blocks, Math.floor(CHUNK_BYTES / bytes)) * bytes);
  for (let done = 0; done < blocks; ) {
    const encoded = scratch.subarray(0, Math.min(scratch.length, (blocks - done) * bytes));
    await readFully(file, encoded, position + done * bytes, fileName);
    const chunk = encoded.length / bytes;
    decode(encoded, data.subarray(done * values, (done + chunk) * values));
    done += chunk;
  }
  return data;
}

/** Opens a file for reading, and closes it afterwards. */
export async function withFile<Result>(path: string, use: (file: FileHandle) => Promise<Result>): Promise<Result> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new AttuneError(`${basename(path)}: file not found; the checkpoint is incomplete`, {
      code: 'invalid_checkpoint',
    });
  });
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

export async function readFully(
  file: FileHandle,
  target: Uint8Array,
  position: number,
  fileName: string,
): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const length = Math.min(CHUNK_BYTES, target.length - done);
    const { bytesRead } = await file.read(target, done, length, position + done);
    if (bytesRead === 0) throw damagedFile(fileName, 'the file shrank while it was read');
    done += bytesRead;
  }
}

export function damagedFile(fileName: string, problem: string): AttuneError {
  return new AttuneError(`${fileName}: ${problem}; download or export the checkpoint again`, {
    code: 'invalid_checkpoint',
  });
}
