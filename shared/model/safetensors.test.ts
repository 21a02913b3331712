import assert from 'node:assert/strict';
import { mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AttuneError } from '../error.ts';
import { openCheckpointWeights, readSafetensors, writeSafetensors } from './safetensors.ts';
import { readWeights, type Weights } from './tensor.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune-safetensors-'));
});
after(() => rm(folder, { recursive: true }));

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };

async function writeRaw(name: string, header: Record<string, Entry> | string, data: Uint8Array): Promise<string> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const path = join(folder, name);
  await writeFile(path, Buffer.concat([length, json, data]));
  return path;
}

const rejects = (promise: Promise<unknown>, message: RegExp) =>
  assert.rejects(promise, (error: Error) => {
    assert(error instanceof AttuneError, error.stack);
    assert.match(error.message, message);
    return true;
  });

test('reads back what was written, in order, with metadata and an aligned header', async () => {
  const weights: Weights = new Map([
    ['b', { shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, 1e-40, -0) }],
    ['a', { shape: [], data: Float32Array.of(7) }],
    ['empty', { shape: [0, 4], data: new Float32Array(0) }],
  ]);
  const path = join(folder, 'round.safetensors');
  await writeSafetensors(path, weights, { made_by: 'test' });
  assert.deepEqual([...(await readSafetensors(path))], [...weights]);

  const bytes = await readFile(path);
  const length = Number(bytes.readBigUInt64LE());
  assert.equal(length % 8, 0);
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  assert.deepEqual(header.__metadata__, { format: 'pt', made_by: 'test' });
  assert(!(await readdir(folder)).some((name) => name.endsWith('.partial')));
});

test('writes only the view of a larger buffer', async () => {
  const path = join(folder, 'view.safetensors');
  const data = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  await writeSafetensors(path, new Map([['w', { shape: [2], data }]]));
  assert.deepEqual((await readSafetensors(path)).get('w')!.data, Float32Array.of(1, 2));
});

test('every F16 and BF16 bit pattern widens exactly', async () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const data = new Uint8Array(bits.buffer);
  const entry = (dtype: string): Record<string, Entry> => ({
    w: { dtype, shape: [65536], data_offsets: [0, 131072] },
  });
  const halves = (await readSafetensors(await writeRaw('f16', entry('F16'), data))).get('w')!.data;
  const brains = (await readSafetensors(await writeRaw('bf16', entry('BF16'), data))).get('w')!.data;
  assert.deepEqual(
    [0x3c00, 0xc000, 0x0001, 0x7bff, 0x3555].map((i) => halves[i]),
    [1, -2, 2 ** -24, 65504, 0.333251953125],
  );
  assert.equal(halves[0xfc00], -Infinity);
  assert(Number.isNaN(halves[0x7e00]));
  assert(Object.is(halves[0x8000], -0));
  const asBits = new Uint32Array(brains.buffer);
  assert(bits.every((b) => asBits[b] === b * 65536 || Number.isNaN(brains[b])));
});

test('reads only the named tensors and reports a missing one', async () => {
  const path = join(folder, 'named.safetensors');
  const one = { shape: [1], data: Float32Array.of(1) };
  await writeSafetensors(
    path,
    new Map([
      ['a', one],
      ['b', one],
    ]),
  );
  assert.deepEqual([...(await readSafetensors(path, { names: ['b'] })).keys()], ['b']);
  await rejects(readSafetensors(path, { names: ['c'] }), /named\.safetensors: tensor c is missing/);
});

test('rejects a tensor of an unsupported dtype only if it is read', async () => {
  const path = await writeRaw(
    'f8.safetensors',
    {
      a: { dtype: 'F8_E4M3', shape: [4], data_offsets: [0, 4] },
      b: { dtype: 'F32', shape: [1], data_offsets: [4, 8] },
    },
    new Uint8Array(8),
  );
  await rejects(readSafetensors(path), /f8\.safetensors: tensor a is F8_E4M3; .*BF16/);
  assert.equal((await readSafetensors(path, { names: ['b'] })).size, 1);
});

test('rejects damaged files and names the tensor', async () => {
  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]): Entry => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  });
  const data = new Uint8Array(16);
  const cases: [Record<string, Entry> | string, RegExp][] = [
    [{ a: f32(0, 8), b: f32(4, 12) }, /tensor b at bytes 4 to 12 overlaps/],
    [{ a: f32(0, 8), b: f32(12, 16) }, /tensor b at bytes 12 to 16 leaves a gap/],
    [{ a: f32(0, 16, [2, 3]) }, /tensor a has shape \[2, 3\] in F32 but 16 bytes/],
    [{ a: f32(0, 16), b: f32(16, 32) }, /tensor b ends at byte 32 of 16; the file is truncated/],
    [{ a: f32(0, 8) }, /the last 8 bytes belong to no tensor/],
    ['{"a": ', /header is not JSON/],
    ['[]', /header|tensor/],
    ['{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 16]}}', /entry a\.shape\.0 is invalid/],
  ];
  for (const [header, message] of cases) await rejects(readSafetensors(await writeRaw('bad', header, data)), message);

  const path = await writeRaw('short', { a: f32(0, 16) }, data);
  await truncate(path, 60);
  await rejects(readSafetensors(path), /short: tensor a ends at byte 16 of \d+|short: .*inside the header/);
  await truncate(path, 5);
  await rejects(readSafetensors(path), /short: 5 bytes are too few/);
  const file = await open(path, 'w');
  await file.write(Buffer.alloc(64, 255));
  await file.close();
  await rejects(readSafetensors(path), /header length is .* bytes; this is not a safetensors file/);
  await rejects(readSafetensors(join(folder, 'absent')), /absent: file not found/);
});

test('reads shards through their index, which cannot refer outside the folder', async () => {
  const shards = await mkdtemp(join(folder, 'shards-'));
  const tensor = (value: number) => ({ shape: [1], data: Float32Array.of(value) });
  await writeSafetensors(join(shards, 'model-00001-of-00002.safetensors'), new Map([['a', tensor(1)]]));
  await writeSafetensors(join(shards, 'model-00002-of-00002.safetensors'), new Map([['b', tensor(2)]]));
  const writeIndex = (weight_map: object) =>
    writeFile(join(shards, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));

  await rejects(openCheckpointWeights(shards), /neither model\.safetensors nor/);
  await writeIndex({ a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' });
  const weights = await readWeights(await openCheckpointWeights(shards));
  assert.deepEqual(
    [...weights].map(([name, { data }]) => [name, data[0]]),
    [
      ['a', 1],
      ['b', 2],
    ],
  );
  assert.equal((await openCheckpointWeights(shards, { names: ['b'] })).size, 1);

  await writeIndex({ a: 'model-00002-of-00002.safetensors' });
  await rejects(openCheckpointWeights(shards), /model-00002-of-00002\.safetensors: tensor a is missing/);
  await writeIndex({ a: '../secret.safetensors' });
  await rejects(openCheckpointWeights(shards), /tensor a is in .*not a safetensors file in the same folder/);
  await writeIndex({ a: 'model-00003-of-00003.safetensors' });
  await rejects(openCheckpointWeights(shards), /model-00003-of-00003\.safetensors: file not found/);
});

test('a failed write leaves no file behind', async () => {
  const path = join(folder, 'wrong.safetensors');
  const wrong: Weights = new Map([['w', { shape: [3], data: new Float32Array(2) }]]);
  await assert.rejects(writeSafetensors(path, wrong), /internal: tensor w has shape \[3\] but 2 values/);
  assert(!(await readdir(folder)).some((name) => name.startsWith('wrong')));
});
