// Reads and writes safetensors files (https://huggingface.co/docs/safetensors): eight bytes of header length, a JSON
// header, then raw tensors. Weights are float32 in memory; F16 and BF16 widen exactly. An inconsistent file (truncated,
// with gaps or overlaps) is rejected as a whole.
import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { AttuneError } from '../error.ts';
import { BFLOAT16, type Encoding, FLOAT16, FLOAT32 } from './encoding.ts';
import { elementCount, type LazyTensor, type LazyWeights, readTensor, readWeights, type Weights } from './tensor.ts';
import { damagedFile, openTensor, readFully, withFile } from './tensor-file.ts';

type Entry = { name: string; dtype: string; shape: number[]; begin: number; end: number };

const ENCODINGS: Record<string, Encoding> = { F32: FLOAT32, F16: FLOAT16, BF16: BFLOAT16 };
/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
/** Node writes at most 2 GiB at a time. */
const CHUNK_BYTES = 1 << 24;

const index = z.int().nonnegative();
const headerSchema = z.record(
  z.string(),
  z.object({ dtype: z.string(), shape: z.array(index), data_offsets: z.tuple([index, index]) }),
);
const shardIndexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Selects the tensors in `names` (default: all) except those that match `skip`, whose dtype may be unsupported. */
type Selection = { names?: Iterable<string>; skip?: RegExp };

/** Validates a file's header and returns its tensors, which are read as float32 when they are needed. */
export async function openSafetensors(path: string, options: Selection = {}): Promise<LazyWeights> {
  const fileName = basename(path);
  const { entries, dataStart } = await withFile(path, (file) => readHeader(file, fileName));
  const tensors = new Map<string, LazyTensor>();
  for (const entry of selectEntries(entries, options.names, fileName)) {
    if (options.skip?.test(entry.name)) continue;
    const encoding = getEncoding(entry, fileName);
    tensors.set(entry.name, openTensor(path, dataStart + entry.begin, entry.shape, encoding));
  }
  return tensors;
}

/** Reads the tensors of one file as float32. */
export async function readSafetensors(path: string, options: Selection = {}): Promise<Weights> {
  return readWeights(await openSafetensors(path, options));
}

/** Opens the tensors of a checkpoint folder: `model.safetensors`, or the shards listed in its index. */
export async function openCheckpointWeights(folder: string, options: Selection = {}): Promise<LazyWeights> {
  const single = join(folder, 'model.safetensors');
  if (await exists(single)) return openSafetensors(single, options);

  const indexPath = join(folder, 'model.safetensors.index.json');
  if (!(await exists(indexPath))) {
    throw new AttuneError(
      'checkpoint: neither model.safetensors nor model.safetensors.index.json exists; export it in safetensors format',
      { code: 'invalid_checkpoint' },
    );
  }
  const shards = groupByShard(await readShardIndex(indexPath), options.names);
  const opened = [];
  for (const [shard, names] of shards)
    opened.push(...(await openSafetensors(join(folder, shard), { ...options, names })));
  return new Map(opened);
}

/** Writes the tensors as F32 in the map's order. The file is renamed into place once complete and on disk. */
export async function writeSafetensors(
  path: string,
  weights: LazyWeights,
  metadata: Record<string, string> = {},
): Promise<void> {
  const partial = `${path}.partial`;
  const file = await open(partial, 'w');
  try {
    await writeFully(file, buildHeader(weights, { format: 'pt', ...metadata }));
    for (const [name, tensor] of weights) {
      const { shape, data } = await readTensor(tensor);
      if (elementCount(shape) !== data.length)
        throw new Error(`internal: tensor ${name} has shape [${shape.join(', ')}] but ${data.length} values`);
      await writeFully(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    await file.sync();
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

function buildHeader(weights: LazyWeights, metadata: Record<string, string>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, { shape }] of weights) {
    const end = offset + elementCount(shape) * FLOAT32.bytes;
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Padding the header with spaces to 8 bytes lets readers memory-map the tensors.
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

async function readHeader(file: FileHandle, fileName: string): Promise<{ entries: Entry[]; dataStart: number }> {
  const { size } = await file.stat();
  if (size < 8) throw damagedFile(fileName, `${size} bytes are too few for a safetensors file`);
  const prefix = new Uint8Array(8);
  await readFully(file, prefix, 0, fileName);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw damagedFile(fileName, `the header length is ${length} bytes; this is not a safetensors file`);
  if (8 + length > size) throw damagedFile(fileName, `truncated inside the header (${size} of ${8 + length} bytes)`);

  const json = new Uint8Array(length);
  await readFully(file, json, 8, fileName);
  const entries = parseEntries(json, fileName);
  checkLayout(entries, size - 8 - length, fileName);
  return { entries, dataStart: 8 + length };
}

function parseEntries(json: Uint8Array, fileName: string): Entry[] {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch {
    throw damagedFile(fileName, 'the header is not JSON');
  }
  if (typeof header !== 'object' || header === null) throw damagedFile(fileName, 'the header is not a JSON object');
  const { __metadata__: _, ...tensors } = header as Record<string, unknown>;
  const parsed = headerSchema.safeParse(tensors);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw damagedFile(fileName, `header entry ${issue.path.join('.')} is invalid: ${issue.message}`);
  }
  return Object.entries(parsed.data).map(([name, { dtype, shape, data_offsets }]) => ({
    name,
    dtype,
    shape,
    begin: data_offsets[0],
    end: data_offsets[1],
  }));
}

/** The format allows no gaps and no overlaps: sorted by offset, the tensors must tile the data exactly. */
function checkLayout(entries: Entry[], dataBytes: number, fileName: string): void {
  let position = 0;
  for (const { name, dtype, shape, begin, end } of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== position || end < begin) {
      const problem =
        begin < position ? 'overlaps another tensor' : end < begin ? 'ends before it begins' : 'leaves a gap';
      throw damagedFile(fileName, `tensor ${name} at bytes ${begin} to ${end} ${problem}`);
    }
    const width = ENCODINGS[dtype]?.bytes;
    if (width !== undefined && end - begin !== elementCount(shape) * width) {
      throw damagedFile(
        fileName,
        `tensor ${name} has shape [${shape.join(', ')}] in ${dtype} but ${end - begin} bytes`,
      );
    }
    if (end > dataBytes) {
      throw damagedFile(fileName, `tensor ${name} ends at byte ${end} of ${dataBytes}; the file is truncated`);
    }
    position = end;
  }
  if (position !== dataBytes) throw damagedFile(fileName, `the last ${dataBytes - position} bytes belong to no tensor`);
}

function selectEntries(entries: Entry[], names: Iterable<string> | undefined, fileName: string): Entry[] {
  if (names === undefined) return entries;
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  return Array.from(names, (name) => {
    const entry = byName.get(name);
    if (entry === undefined) throw damagedFile(fileName, `tensor ${name} is missing`);
    return entry;
  });
}

function getEncoding({ name, dtype }: Entry, fileName: string): Encoding {
  const encoding = ENCODINGS[dtype];
  if (encoding) return encoding;
  throw new AttuneError(
    `${fileName}: tensor ${name} is ${dtype}; Attune reads F32, F16 and BF16; convert the checkpoint first`,
    { code: 'unsupported_dtype' },
  );
}

async function readShardIndex(path: string): Promise<Map<string, string>> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch {
    throw damagedFile(basename(path), 'not valid JSON');
  }
  const parsed = shardIndexSchema.safeParse(json);
  if (!parsed.success) throw damagedFile(basename(path), 'weight_map from tensor names to files is missing or invalid');
  for (const [name, shard] of Object.entries(parsed.data.weight_map)) {
    // An untrusted index must not refer to files outside its folder.
    if (!/^[\w.-]+\.safetensors$/.test(shard)) {
      throw damagedFile(
        basename(path),
        `tensor ${name} is in ${JSON.stringify(shard)}, not a safetensors file in the same folder`,
      );
    }
  }
  return new Map(Object.entries(parsed.data.weight_map));
}

function groupByShard(shardOf: Map<string, string>, names: Iterable<string> | undefined): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const name of names ?? shardOf.keys()) {
    const shard = shardOf.get(name);
    if (shard === undefined) throw damagedFile('model.safetensors.index.json', `tensor ${name} is missing`);
    const group = groups.get(shard);
    if (group) group.push(name);
    else groups.set(shard, [name]);
  }
  return groups;
}

async function writeFully(file: FileHandle, source: Uint8Array): Promise<void> {
  for (let done = 0; done < source.length; ) {
    done += (await file.write(source, done, Math.min(CHUNK_BYTES, source.length - done))).bytesWritten;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
