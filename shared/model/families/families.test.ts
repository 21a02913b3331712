// Compares each family with Hugging Face transformers (logits recorded by golden.py) and with transformers.js.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AutoModelForCausalLM, env, Tensor as HubTensor } from '@huggingface/transformers';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { GOLDEN_CASES, GOLDEN_SEED, maxDeviation, readGoldens } from '../../../testing/golden.ts';
import { tinyWeights, writeTinyCheckpoint } from '../../../testing/tiny-checkpoint.ts';
import { Decoder } from '../../decoder/decoder.ts';
import { openSession } from '../../decoder/session.ts';
import { float32 } from '../../onnx/precision/float32.ts';
import { writePolicyGraphs, writeServingGraph } from '../../onnx/write-graphs.ts';
import { hashFile } from '../../package/files.ts';
import type { PrecisionName } from '../../precision-name.ts';
import type { Architecture } from '../architecture.ts';
import { type Checkpoint, readCheckpoint } from '../checkpoint.ts';
import { fromCheckpointTensors, toCheckpointTensors } from '../checkpoint-tensors.ts';
import { parseConfig, toConfig } from '../config.ts';
import { readWeights } from '../tensor.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-families-'));
after(() => rm(root, { recursive: true, force: true }));

const { ids, stride, cases } = readGoldens();
const TOLERANCE = 1e-4;

async function writePackage(name: string, precision?: PrecisionName): Promise<Checkpoint & { folder: string }> {
  const folder = join(root, `${name}-${precision}`);
  await writeTinyCheckpoint(folder, { seed: GOLDEN_SEED, ...GOLDEN_CASES[name] });
  const checkpoint = await readCheckpoint(folder);
  await writePolicyGraphs(folder, checkpoint.architecture, checkpoint.weights, precision);
  return { folder, ...checkpoint };
}

/** Logits after the first `begin` tokens, then after each further token, decoded one at a time. */
async function serve(folder: string, a: Architecture, begin: number): Promise<Float32Array[]> {
  const decoder = new Decoder(await openSession(join(folder, 'onnx', 'serve.onnx'), 1), Tensor, a);
  const cache = decoder.createCache();
  cache.addRow();
  const steps: Float32Array[] = [];
  for (let at = begin; at <= ids.length; at++) {
    const { logits } = await decoder.forward(cache, [at === begin ? ids.slice(0, begin) : [ids[at - 1]!]]);
    steps.push(logits.slice());
  }
  await decoder.release();
  return steps;
}

async function runModel(folder: string, a: Architecture): Promise<Float32Array> {
  const session = await InferenceSession.create(join(folder, 'onnx', 'model.onnx'));
  const int64 = (values: number[]) => new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
  const feeds: Record<string, Tensor> = {
    input_ids: int64(ids),
    attention_mask: int64(ids.map(() => 1)),
    position_ids: int64([...ids.keys()]),
  };
  for (let layer = 0; layer < a.layers; layer++)
    for (const kind of ['key', 'value'])
      feeds[`past_key_values.${layer}.${kind}`] = new Tensor('float32', new Float32Array(0), [
        1,
        a.kvHeads,
        0,
        a.headDim,
      ]);
  const { logits } = await session.run(feeds);
  await session.release();
  return logits!.data as Float32Array;
}

test('every case has recorded logits', () => {
  assert.deepEqual(Object.keys(cases).sort(), Object.keys(GOLDEN_CASES).sort());
});

for (const name of Object.keys(GOLDEN_CASES)) {
  const golden = cases[name]!;

  test(`${name}: the checkpoint is the one that transformers loaded`, async () => {
    const { folder } = await writePackage(name, 'fp32');
    assert.equal((await hashFile(join(folder, 'model.safetensors'))).sha256, golden.sha256);
  });

  test(`${name}: both exported graphs match the logits of transformers`, async () => {
    const { folder, architecture: a } = await writePackage(name, 'fp32');
    const all = await runModel(folder, a);
    for (const at of ids.keys()) {
      const difference = maxDeviation(golden, stride, at, all.subarray(at * a.vocabSize, (at + 1) * a.vocabSize));
      assert.ok(difference < TOLERANCE, `model.onnx at ${at}: ${difference}`);
    }
    const begin = 7;
    for (const [i, logits] of (await serve(folder, a, begin)).entries()) {
      const difference = maxDeviation(golden, stride, begin - 1 + i, logits);
      assert.ok(difference < TOLERANCE, `serve.onnx at ${begin - 1 + i}: ${difference}`);
    }
  });

  test(`${name}: rotated weights compute the same function`, async () => {
    const { folder, architecture, weights } = await writePackage(name, 'fp32');
    await writeServingGraph(join(folder, 'onnx'), architecture, weights, { ...float32, isRotated: true });
    for (const [i, logits] of (await serve(folder, architecture, 7)).entries()) {
      const difference = maxDeviation(golden, stride, 6 + i, logits);
      assert.ok(difference < TOLERANCE, `after ${7 + i} tokens: ${difference}`);
    }
  });

  test(`${name}: row8 logits are close to float32`, async () => {
    const { folder, architecture } = await writePackage(name, 'row8');
    let squaredError = 0;
    let squaredNorm = 0;
    const columns = Math.ceil(architecture.vocabSize / stride);
    for (const [i, logits] of (await serve(folder, architecture, 5)).entries()) {
      const expected = golden.logits.slice((4 + i) * columns, (5 + i) * columns);
      for (const [column, logit] of expected.entries()) {
        squaredError += (logits[column * stride]! - logit) ** 2;
        squaredNorm += logit ** 2;
      }
    }
    const relative = Math.sqrt(squaredError / squaredNorm);
    assert.ok(relative < 0.05 && relative > 0, `${relative}`);
  });

  test(`${name}: weights and config survive a round trip`, async () => {
    const { architecture, weights } = await writePackage(name, 'fp32');
    const stored = toCheckpointTensors(architecture, weights);
    const reread = fromCheckpointTensors(architecture, stored);
    assert.deepEqual(await readWeights(reread), weights);
    assert.deepEqual(await readWeights(toCheckpointTensors(architecture, reread)), await readWeights(stored));
    const written = toConfig(architecture);
    assert.deepEqual(parseConfig(written), architecture);
    assert.deepEqual(parseConfig(JSON.parse(JSON.stringify(written))), architecture);
  });
}

for (const name of ['mistral', 'qwen2-untied', 'qwen3', 'gpt2', 'gpt_neox-parallel', 'gemma']) {
  test(`${name}: transformers.js decodes the package greedily to the same tokens as the serving graph`, async () => {
    const { folder, architecture } = await writePackage(name, 'fp32');
    env.allowRemoteModels = false;
    const model = await AutoModelForCausalLM.from_pretrained(folder, { dtype: 'fp32', device: 'cpu' });
    const inputs = {
      input_ids: new HubTensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      attention_mask: new HubTensor('int64', new BigInt64Array(ids.length).fill(1n), [1, ids.length]),
    };
    const output = await model.generate({ ...inputs, max_new_tokens: 12, do_sample: false });
    await model.dispose();
    const theirs = Array.from((output as HubTensor).data as BigInt64Array, Number).slice(ids.length);

    const decoder = new Decoder(await openSession(join(folder, 'onnx', 'serve.onnx'), 1), Tensor, architecture);
    const cache = decoder.createCache();
    cache.addRow();
    const ours: number[] = [];
    for (let next = ids; ours.length < theirs.length; next = [ours.at(-1)!]) {
      const { logits } = await decoder.forward(cache, [next]);
      ours.push(logits.indexOf(Math.max(...logits)));
    }
    await decoder.release();
    assert.ok(theirs.length >= 1 && (theirs.length === 12 || theirs.at(-1) === 2));
    assert.deepEqual(ours, theirs);
  });
}

test('a tensor of the wrong shape is reported under the name in the file', async () => {
  const architecture = parseConfig(gptConfig());
  const stored = await readWeights(toCheckpointTensors(architecture, tinyWeights(architecture)));
  stored.set('transformer.h.1.attn.c_attn.weight', { shape: [96, 32], data: new Float32Array(96 * 32) });
  assert.throws(() => fromCheckpointTensors(architecture, stored), {
    name: 'AttuneError',
    message: /tensor transformer\.h\.1\.attn\.c_attn\.weight has shape \[96, 32\], expected \[32, 96\]/,
  });
});

test('reads GPT-2 checkpoints without the transformer. prefix and with mask buffers', async () => {
  const architecture = parseConfig(gptConfig());
  const weights = tinyWeights(architecture);
  const older = new Map(
    Array.from(await readWeights(toCheckpointTensors(architecture, weights)), ([name, tensor]) => [
      name.replace('transformer.', ''),
      tensor,
    ]),
  );
  older.set('h.0.attn.bias', { shape: [1, 1, 4, 4], data: new Float32Array(16) });
  assert.deepEqual(await readWeights(fromCheckpointTensors(architecture, older)), weights);
  older.set('h.0.attn.gate', { shape: [1], data: new Float32Array(1) });
  assert.throws(() => fromCheckpointTensors(architecture, older), {
    message: /tensor h\.0\.attn\.gate does not belong to a gpt2/,
  });
});

function gptConfig(): object {
  return { model_type: 'gpt2', n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, vocab_size: 300 };
}
