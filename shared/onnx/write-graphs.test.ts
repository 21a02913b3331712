import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AutoModelForCausalLM, env, Tensor as HubTensor } from '@huggingface/transformers';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { openSession } from '../decoder/session.ts';
import { multipliesSignedExactly } from '../decoder/signed-products.ts';
import type { Architecture } from '../model/architecture.ts';
import { ROTATED, rotateWeights } from '../model/rotated-weights.ts';
import { readWeights, type Weights } from '../model/tensor.ts';
import { PRECISION_NAMES, type PrecisionName } from '../precision-name.ts';
import { listKvPlanes } from './kv-format.ts';
import { writePolicyGraphs } from './write-graphs.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-graph-'));
after(() => rm(root, { recursive: true, force: true }));

const PROMPT = [1, 40, 7, 262, 299, 12, 300];

async function writePackage(name: string, options: TinyCheckpointOptions = {}, precision: PrecisionName = 'fp32') {
  const folder = join(root, name);
  const { architecture, weights } = await writeTinyCheckpoint(folder, options);
  await writePolicyGraphs(folder, architecture, weights, precision);
  return { folder, architecture, weights };
}

for (const tied of [true, false]) {
  test(`both graphs match a plain implementation of the formulas, ${tied ? 'tied' : 'untied'}`, async () => {
    const { folder, architecture, weights } = await writePackage(`formula-${tied}`, { tied, seed: 3 });
    const expected = referenceLogits(architecture, weights, PROMPT);
    const own = await runServe(folder, architecture, PROMPT);
    const others = await runModel(folder, architecture, PROMPT);
    assert.ok(distance(own.logits, expected.at(-1)!) < 1e-4);
    assert.ok(distance(others, expected.flat()) < 1e-4);
    const normalizer = Math.log(expected.at(-1)!.reduce((sum, logit) => sum + Math.exp(logit), 0));
    assert.ok(Math.abs(own.logNormalizer - normalizer) < 1e-5);
  });
}

// How each precision rounds: weights to `steps` levels in blocks of `span` inputs, activations to 127 levels likewise.
for (const [precision, steps, span] of [
  ['row8', 127, Number.POSITIVE_INFINITY],
  ['int8', 127, 32],
  ['int4', 7, 16],
] as const) {
  for (const tied of [true, false]) {
    test(`${precision} matches a plain implementation with the same rounding, ${tied ? 'tied' : 'untied'}`, async () => {
      const { folder, architecture, weights } = await writePackage(
        `${precision}-${tied}`,
        { tied, seed: 3 },
        precision,
      );
      const stored = precision === 'row8' ? await readWeights(rotateWeights(architecture, weights)) : weights;
      const rounded: Weights = new Map(
        [...stored].map(([name, { shape, data }]) => {
          if (shape.length === 1 || name.startsWith('rotated.')) return [name, { shape, data }];
          return [name, { shape, data: Float32Array.from(roundSpans(data, Math.min(span, shape[1]!), steps)) }];
        }),
      );
      const roundRow = (x: number[]) => Array.from(roundSpans(x, Math.min(span, x.length), 127));
      const expected = referenceLogits(architecture, rounded, PROMPT, roundRow).at(-1)!;
      const exact = referenceLogits(architecture, weights, PROMPT).at(-1)!;
      const { logits } = await runServe(folder, architecture, PROMPT);
      // A value halfway between two steps may round either way, which changes everything after it.
      const error = distance(logits, expected);
      assert.ok(
        error < 0.4 * distance(exact, expected),
        `${error} from rounding, ${distance(exact, expected)} from float32`,
      );
    });
  }
}

const isSignedExact = await multipliesSignedExactly();

test('row8 has bitwise the same logits with unsigned weights as with signed ones', {
  skip: !isSignedExact && 'products of signed bytes saturate on this processor, which is why it gets unsigned ones',
}, async () => {
  for (const family of ['llama', 'gpt2'] as const) {
    const { folder, architecture } = await writePackage(`forms-${family}`, { family }, 'row8');
    const signed = await runServe(folder, architecture, PROMPT);
    assert.deepEqual(await runServe(folder, architecture, PROMPT, 'serve-unsigned.onnx'), signed);
  }
});

test('a NaN in the weights makes the logits not finite, at every precision', async () => {
  for (const precision of PRECISION_NAMES) {
    for (const name of ['model.embed_tokens.weight', 'model.layers.1.mlp.down_proj.weight']) {
      const { folder, architecture, weights } = await writePackage(`nan-${precision}-${name}`, {}, precision);
      weights.get(name)!.data.fill(Number.NaN);
      await writePolicyGraphs(folder, architecture, weights, precision);
      const { logNormalizer } = await runServe(folder, architecture, PROMPT);
      assert.ok(!Number.isFinite(logNormalizer), `${precision} hides NaN in ${name}: ${logNormalizer}`);
    }
  }
});

test('transformers.js decodes the package greedily to the same tokens as the serving graph', async () => {
  const { folder, architecture, weights } = await writePackage('clients', { seed: 5 });
  env.allowRemoteModels = false;
  const model = await AutoModelForCausalLM.from_pretrained(folder, { dtype: 'fp32', device: 'cpu' });
  const inputs = {
    input_ids: new HubTensor('int64', BigInt64Array.from(PROMPT, BigInt), [1, PROMPT.length]),
    attention_mask: new HubTensor('int64', new BigInt64Array(PROMPT.length).fill(1n), [1, PROMPT.length]),
  };
  const output = await model.generate({ ...inputs, max_new_tokens: 24, do_sample: false });
  await model.dispose();
  const theirs = Array.from((output as HubTensor).data as BigInt64Array, Number);

  const ids = [...PROMPT];
  while (ids.length < theirs.length) {
    const { logits } = await runServe(folder, architecture, ids);
    ids.push(logits.indexOf(Math.max(...logits)));
  }
  assert.equal(theirs.length, PROMPT.length + 24);
  assert.deepEqual(theirs, ids);
  const last = referenceLogits(architecture, weights, ids.slice(0, -1)).at(-1)!;
  assert.equal(last.indexOf(Math.max(...last)), ids.at(-1));
});

test('left padding does not change the logits of model.onnx', async () => {
  const { folder, architecture } = await writePackage('padding');
  const plain = await runModel(folder, architecture, PROMPT);
  const padded = await runModel(folder, architecture, PROMPT, 3);
  assert.ok(distance(padded.slice(3 * architecture.vocabSize), plain) < 1e-5);
});

test('weights, including a tied table, are stored once', async () => {
  const { folder, weights } = await writePackage('size', { vocabSize: 4096 });
  const parameters = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const stored = (await readFile(join(folder, 'onnx', 'model.onnx_data'))).byteLength;
  assert.ok(stored < parameters * 1.2, `${stored} bytes stored for ${parameters} bytes of parameters`);
  for (const name of ['model.onnx', 'serve.onnx']) {
    assert.ok((await readFile(join(folder, 'onnx', name))).byteLength < 20_000);
  }
});

async function runServe(folder: string, a: Architecture, ids: number[], graph = 'serve.onnx') {
  const session = await openSession(join(folder, 'onnx', graph));
  const feeds: Record<string, Tensor> = {
    input_ids: int64(ids, [1, ids.length]),
    position_ids: int64([...ids.keys()], [1, ids.length]),
    past_length: int64([0], [1]),
    last_index: int64([ids.length - 1], [1, 1]),
  };
  const isInteger = session.inputMetadata.some(({ name }) => name === 'past_key_scale.0');
  for (let layer = 0; layer < a.layers; layer++) {
    for (const { name, type, dims } of listKvPlanes(a, isInteger ? 'int8' : 'float32')) {
      const data = type === 'uint8' ? new Uint8Array(0) : new Float32Array(0);
      feeds[`${name}.${layer}`] = new Tensor(type, data as Float32Array, dims(1, 0));
    }
  }
  const outputs = await session.run(feeds);
  await session.release();
  return {
    logits: Array.from(outputs.logits!.data as Float32Array),
    logNormalizer: (outputs.log_normalizer!.data as Float32Array)[0]!,
  };
}

async function runModel(folder: string, a: Architecture, ids: number[], padding = 0): Promise<number[]> {
  const session = await InferenceSession.create(join(folder, 'onnx', 'model.onnx'));
  const length = padding + ids.length;
  const feeds: Record<string, Tensor> = {
    input_ids: int64([...new Array<number>(padding).fill(0), ...ids], [1, length]),
    attention_mask: int64(
      Array.from({ length }, (_, i) => (i < padding ? 0 : 1)),
      [1, length],
    ),
    position_ids: int64(
      Array.from({ length }, (_, i) => Math.max(0, i - padding)),
      [1, length],
    ),
  };
  for (let layer = 0; layer < a.layers; layer++) {
    for (const kind of ['key', 'value']) feeds[`past_key_values.${layer}.${kind}`] = emptyCache(a);
  }
  const outputs = await session.run(feeds);
  await session.release();
  return Array.from(outputs.logits!.data as Float32Array);
}

function int64(values: number[], dims: number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
}

function emptyCache(a: Architecture): Tensor {
  return new Tensor('float32', new Float32Array(0), [1, a.kvHeads, 0, a.headDim]);
}

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
}

/** Rounds each span of x to multiples of (its largest magnitude) / steps. */
function roundSpans(x: ArrayLike<number>, span: number, steps: number): number[] {
  const values = Array.from(x);
  for (let begin = 0; begin < values.length; begin += span) {
    const block = values.slice(begin, begin + span);
    const step = Math.max(...block.map(Math.abs)) / steps;
    for (const [i, value] of block.entries()) values[begin + i] = step === 0 ? 0 : Math.round(value / step) * step;
  }
  return values;
}

/** The decoder as plain loops: logits [S, V]. `round` is applied to the inputs of matrices. */
function referenceLogits(
  a: Architecture,
  weights: Weights,
  ids: number[],
  round: (x: number[]) => number[] = (x) => x,
): number[][] {
  const matrix = (name: string) => {
    const { shape, data } = weights.get(name)!;
    return (given: number[]) => {
      const x = round(given);
      return Array.from({ length: shape[0]! }, (_, row) =>
        x.reduce((sum, v, i) => sum + v * data[row * shape[1]! + i]!, 0),
      );
    };
  };
  const norm = (x: number[], name: string) => {
    const root = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + a.normEpsilon);
    return x.map((v, i) => (v / root) * (weights.get(name)?.data[i] ?? 1));
  };
  /** x · M for each block of x; rotated weights have such matrices, which are not rounded. */
  const multiplyBlocks = (x: number[], name: string) => {
    const matrix = weights.get(name);
    if (!matrix) return x;
    const size = matrix.shape[0]!;
    return x.map((_, at) => {
      const begin = at - (at % size);
      let sum = 0;
      for (let i = 0; i < size; i++) sum += x[begin + i]! * matrix.data[i * size + (at % size)]!;
      return sum;
    });
  };
  const rotate = (x: number[], position: number) => {
    const half = a.headDim / 2;
    return x.map((v, at) => {
      const i = at % a.headDim;
      const angle = position * a.ropeTheta ** (-(i % half) / half);
      const other = i < half ? -x[at + half]! : x[at - half]!;
      return v * Math.cos(angle) + other * Math.sin(angle);
    });
  };
  const embed = weights.get('model.embed_tokens.weight')!.data;
  let xs = ids.map((id) => Array.from(embed.subarray(id * a.hiddenSize, (id + 1) * a.hiddenSize)));
  for (let layer = 0; layer < a.layers; layer++) {
    const at = `model.layers.${layer}`;
    const normed = xs.map((x) => norm(x, `${at}.input_layernorm.weight`));
    const project = (kind: string) => normed.map(matrix(`${at}.self_attn.${kind}_proj.weight`));
    const queries = project('q').map(rotate);
    const keys = project('k').map(rotate);
    const values = project('v');
    const attended = queries.map((query, s) =>
      query.map((_, column) => {
        const head = Math.floor(column / a.headDim);
        const shared = Math.floor(head / (a.heads / a.kvHeads)) * a.headDim;
        const scores = keys.slice(0, s + 1).map((key) => {
          let sum = 0;
          for (let i = 0; i < a.headDim; i++) sum += query[head * a.headDim + i]! * key[shared + i]!;
          return Math.exp(sum / Math.sqrt(a.headDim));
        });
        const total = scores.reduce((sum, score) => sum + score);
        const inHead = shared + (column % a.headDim);
        return scores.reduce((sum, score, t) => sum + (score / total) * values[t]![inHead]!, 0);
      }),
    );
    const out = attended.map(matrix(`${at}.self_attn.o_proj.weight`));
    xs = xs.map((x, s) => x.map((v, i) => v + out[s]![i]!));
    xs = xs.map((x) => {
      const hidden = norm(x, `${at}.post_attention_layernorm.weight`);
      const up = matrix(`${at}.mlp.up_proj.weight`)(hidden);
      const gated = matrix(`${at}.mlp.gate_proj.weight`)(hidden).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
      const down = matrix(`${at}.mlp.down_proj.weight`)(multiplyBlocks(gated, ROTATED.hadamard));
      return x.map((v, i) => v + down[i]!);
    });
  }
  return xs.map((x) => {
    const last = multiplyBlocks(norm(x, 'model.norm.weight'), ROTATED.gain);
    return matrix(a.tied ? 'model.embed_tokens.weight' : 'lm_head.weight')(last);
  });
}
