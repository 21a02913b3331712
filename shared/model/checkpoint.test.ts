import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { weightShapes } from './architecture.ts';
import { type Checkpoint, readCheckpoint } from './checkpoint.ts';
import { writeSafetensors } from './safetensors.ts';

let folder: string;
let tiny: Checkpoint;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune-checkpoint-'));
});
beforeEach(async () => {
  tiny = await writeTinyCheckpoint(folder, { seed: 3 });
});
after(() => rm(folder, { recursive: true }));

const rewrite = () => writeSafetensors(join(folder, 'model.safetensors'), tiny.weights);

test('reads a checkpoint back unchanged, in checkpoint order', async () => {
  const { architecture, weights } = await readCheckpoint(folder);
  assert.deepEqual(architecture, tiny.architecture);
  assert.deepEqual([...weights.keys()], [...weightShapes(architecture).keys()]);
  assert.deepEqual(weights, tiny.weights);
});

test('the same seed gives the same weights, and another seed gives different ones', async () => {
  const name = 'model.norm.weight';
  const again = await writeTinyCheckpoint(folder, { seed: 3 });
  const other = await writeTinyCheckpoint(folder, { seed: 4 });
  assert.deepEqual(again.weights.get(name), tiny.weights.get(name));
  assert.notDeepEqual(other.weights.get(name), tiny.weights.get(name));
});

test('rejects a tensor of the wrong shape and reports both shapes', async () => {
  tiny.weights.set('model.layers.1.mlp.up_proj.weight', { shape: [64, 31], data: new Float32Array(64 * 31) });
  await rewrite();
  await assert.rejects(readCheckpoint(folder), {
    name: 'AttuneError',
    message:
      'policies import: tensor model.layers.1.mlp.up_proj.weight has shape [64, 31], expected [64, 32]; ' +
      'the checkpoint is damaged or its config.json is from another model',
  });
});

test('rejects a missing tensor, a NaN and an infinity, and names the tensor', async () => {
  const name = 'model.layers.0.self_attn.q_proj.weight';
  for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
    tiny.weights.get(name)!.data[5] = value;
    await rewrite();
    await assert.rejects(readCheckpoint(folder), { message: new RegExp(`tensor ${name} is ${value} at index 5`) });
  }
  tiny.weights.delete(name);
  await rewrite();
  await assert.rejects(readCheckpoint(folder), { message: new RegExp(`tensor ${name} is missing`) });
});

test('drops known buffers and rejects any other extra tensor', async () => {
  const extra = { shape: [4], data: new Float32Array(4) };
  tiny.weights.set('model.layers.0.self_attn.rotary_emb.inv_freq', extra);
  tiny.weights.set('lm_head.weight', tiny.weights.get('model.embed_tokens.weight')!);
  await rewrite();
  const { architecture, weights } = await readCheckpoint(folder);
  assert.equal(weights.size, weightShapes(architecture).size);

  tiny.weights.set('model.layers.0.self_attn.q_proj.bias', extra);
  await rewrite();
  await assert.rejects(readCheckpoint(folder), {
    message: /tensor model\.layers\.0\.self_attn\.q_proj\.bias does not belong/,
  });
});

test('an untied checkpoint keeps its output layer', async () => {
  await writeTinyCheckpoint(folder, { tied: false });
  assert((await readCheckpoint(folder)).weights.has('lm_head.weight'));
});

test('reports missing and malformed files by name', async () => {
  await rm(join(folder, 'tokenizer.json'));
  await assert.rejects(readCheckpoint(folder), { message: /tokenizer\.json is missing/ });
  await writeFile(join(folder, 'config.json'), '{');
  await assert.rejects(readCheckpoint(folder), { message: /config\.json is not valid JSON/ });
  await rm(join(folder, 'config.json'));
  await assert.rejects(readCheckpoint(folder), { message: /config\.json is missing/ });
});

test('skips the BOOL masks of old exporters', async () => {
  await writeTinyCheckpoint(folder, { family: 'gpt_neox' });
  const path = join(folder, 'model.safetensors');
  const bytes = await readFile(path);
  const headerEnd = 8 + Number(bytes.readBigUInt64LE());
  const data = bytes.subarray(headerEnd);
  const write = async (name: string) => {
    const header = JSON.parse(bytes.toString('utf8', 8, headerEnd));
    header[name] = { dtype: 'BOOL', shape: [1, 1, 2, 2], data_offsets: [data.length, data.length + 4] };
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    await writeFile(path, Buffer.concat([length, json, data, Buffer.alloc(4)]));
  };
  await write('gpt_neox.layers.0.attention.bias');
  assert.equal((await readCheckpoint(folder)).architecture.family, 'gpt_neox');
  await write('gpt_neox.layers.0.attention.gate');
  await assert.rejects(readCheckpoint(folder), { message: /attention\.gate is BOOL/ });
});
