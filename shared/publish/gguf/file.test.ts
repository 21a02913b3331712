// What is wrong with a GGUF file is said by name, and nothing is written.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type GgufOptions, writeGguf } from '../../../testing/gguf-writer.ts';
import { type TinyCheckpointOptions, tinyArchitecture, tinyWeights } from '../../../testing/tiny-checkpoint.ts';
import { AttuneError } from '../../error.ts';
import { rotaryFrequencies } from '../../model/rotary.ts';
import { validateWeights, type Weights } from '../../model/tensor.ts';
import { openGgufCheckpoint } from './checkpoint.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-gguf-file-'));
after(() => rm(root, { recursive: true, force: true }));
const path = join(root, 'model.gguf');
const folder = join(root, 'folder');
await mkdir(folder);

type Options = GgufOptions & { tiny?: TinyCheckpointOptions; change?(weights: Weights): void };

async function write({ tiny, change, ...options }: Options = {}): Promise<void> {
  const a = tinyArchitecture(tiny);
  const weights = tinyWeights(a);
  change?.(weights);
  await writeGguf(path, a, weights, options);
}

async function openAll() {
  const { weights } = await openGgufCheckpoint(path, folder);
  await validateWeights(weights);
}

async function rejects(message: RegExp, from = path): Promise<void> {
  await assert.rejects(openGgufCheckpoint(from, folder), (error: Error) => {
    assert.ok(error instanceof AttuneError, error.stack);
    assert.match(error.message, message);
    return true;
  });
  assert.deepEqual(await readdir(folder), []);
}

test('a file that is cut short is refused wherever it ends', async () => {
  await write();
  const { size } = await stat(path);
  await truncate(path, size - 1);
  await rejects(/model\.gguf: tensor \S+ ends at byte \d+ of \d+; the file is cut short; download .* again/);
  // Inside the tensors, their names, the vocabulary, the first key.
  for (const share of [0.5, 0.2, 0.05, 0.01, 0.001]) {
    await truncate(path, Math.floor(size * share));
    await rejects(/model\.gguf: .*(cut short|ends inside its header|header cannot be read).*; download .* again/);
  }
  await truncate(path, 0);
  await rejects(/model\.gguf: .*header cannot be read/);
  await rejects(/policies import: .*absent\.gguf does not exist/, join(root, 'absent.gguf'));
});

test('a file that is no GGUF, of version 1, big-endian, or one of several parts is refused', async () => {
  await writeFile(path, 'PK\u0003\u0004 a zip file of something else');
  await rejects(/model\.gguf: the GGUF header cannot be read \(.*magic number\)/);
  await write();
  const bytes = await readFile(path);
  bytes.writeUInt32LE(99, 4);
  await writeFile(path, bytes);
  await rejects(/model\.gguf: the GGUF header cannot be read \(.*version "99"\)/);
  // No tensors, no metadata.
  await writeFile(path, Buffer.from([...Buffer.from('GGUF'), 0, 0, 0, 3, ...new Uint8Array(16)]));
  await rejects(/model\.gguf: its numbers are big-endian; convert the model to little-endian/);
  await writeFile(path, Buffer.from([...Buffer.from('GGUF'), 1, 0, 0, 0, ...new Uint8Array(8)]));
  await rejects(/model\.gguf: it is of GGUF version 1; convert the model again/);
  await write({ metadata: { 'split.count': ['u32', 3] } });
  await rejects(/model\.gguf: it is one of 3 parts; merge them with llama-gguf-split --merge/);
});

test('a tensor of an unsupported type or of an impossible shape is refused', async () => {
  const withType = (typeId: number) => (name: string) =>
    name === 'blk.1.ffn_up.weight' ? { typeId, bytes: new Uint8Array(64) } : undefined;
  await write({ encode: withType(20) });
  await rejects(/tensor blk\.1\.ffn_up\.weight is IQ4_NL; Attune reads F32, F16, .*Q6_K; choose a file of another/);
  await write({ encode: withType(999) });
  await rejects(/tensor blk\.1\.ffn_up\.weight is of type 999; Attune reads/);
  await write({ encode: withType(14) });
  await rejects(/tensor blk\.1\.ffn_up\.weight has shape \[64, 32\], which Q6_K cannot have/);
});

test('a model that Attune does not compute is refused', async () => {
  await write({ metadata: { 'general.architecture': ['text', 'mamba'] } });
  await rejects(/general\.architecture is "mamba"; Attune supports only llama, qwen2, qwen3, gemma, gpt2, gptneox/);
  await write({ metadata: { 'llama.expert_count': ['u32', 8] } });
  await rejects(/llama\.expert_count: mixtures of experts are not supported/);
  await write({ metadata: { 'llama.rope.scaling.type': ['text', 'yarn'], 'llama.rope.scaling.factor': ['f32', 4] } });
  await rejects(/model\.gguf: rope_scaling is \{"rope_type":"yarn","factor":4\}; Attune supports/);
  await write({ metadata: { 'llama.block_count': ['text', 'two'] } });
  await rejects(/llama\.block_count: /);
  await write({ extra: { 'rope_freqs.weight': Float32Array.of(1, 2, 3, 4) } });
  await rejects(/rope_freqs\.weight scales the rotary frequencies in an unknown way; .* import the safetensors/);
});

test('a tensor that is missing, superfluous or not finite is named', async () => {
  await write({ metadata: { 'llama.block_count': ['u32', 3] } });
  await rejects(/tensor blk\.2\.attn_norm\.weight is missing/);
  await write({ metadata: { 'llama.block_count': ['u32', 1] } });
  await rejects(/tensor blk\.1\.attn_norm\.weight does not belong to a llama/);
  await write({ change: (weights) => weights.get('model.layers.1.mlp.up_proj.weight')!.data.fill(Number.NaN, 3, 4) });
  await assert.rejects(openAll(), { message: /tensor blk\.1\.ffn_up\.weight is NaN at index 3/ });
});

test("Llama 3's scaling of the rotary embedding is recognized by its factors", async () => {
  const ropeScaling = {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContext: 8192,
  } as const;
  const a = tinyArchitecture({ headDim: 64 });
  const scaled = rotaryFrequencies({ ...a, ropeScaling });
  const factors = Float32Array.from(rotaryFrequencies(a), (frequency, i) => frequency / scaled[i]!);
  await write({ tiny: { headDim: 64 }, extra: { 'rope_freqs.weight': factors } });
  assert.deepEqual((await openGgufCheckpoint(path, folder)).architecture.ropeScaling, ropeScaling);
});
