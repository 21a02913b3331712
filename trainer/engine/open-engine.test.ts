import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { writeCheckpoint } from '../../shared/model/checkpoint.ts';
import { readSafetensors } from '../../shared/model/safetensors.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { referenceLogits, referenceLogps } from '../../testing/reference-decoder.ts';
import { type TinyCheckpointOptions, tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { makeSequence, makeTokens, pairSequences, SMALL_POLICY } from '../../testing/training.ts';
import type { Engine, TrainPair } from './engine.ts';
import { type EngineOptions, openEngine } from './open-engine.ts';

async function withEngine(
  options: Partial<Omit<EngineOptions, 'weights'>> & { tiny?: TinyCheckpointOptions },
  work: (engine: Engine, a: EngineOptions & { weights: Weights }) => Promise<void>,
): Promise<void> {
  const architecture = tinyArchitecture({ ...SMALL_POLICY, ...options.tiny });
  const all = { architecture, weights: tinyWeights(architecture, 4), objective: {}, threads: 2, ...options };
  const engine = await openEngine(all);
  try {
    await work(engine, all);
  } finally {
    await engine.close();
  }
}

/** Pairs whose reference is the engine's current policy. */
function makePairs(engine: Engine, count: number): Promise<TrainPair[]> {
  return pairSequences(
    engine,
    Array.from({ length: 2 * count }, (_, i) => makeSequence(i)),
  );
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++)
    assert.ok(Math.abs(actual[i]! - expected[i]!) < tolerance, `at ${i}: ${actual[i]} is not ${expected[i]}`);
}

for (const tied of [true, false]) {
  test(`scores and logits with ${tied ? 'a tied' : 'an untied'} head equal those of the double-precision reference`, async () => {
    await withEngine({ tiny: { tied } }, async (engine, { architecture, weights }) => {
      const sequences = [1, 2, 7, 9].map(makeSequence);
      const scores = await engine.score(sequences);
      for (const [i, { promptIds, responseIds }] of sequences.entries())
        assertClose(scores[i]!, referenceLogps(architecture, weights, promptIds, responseIds), 2e-5);
      const ids = makeTokens(3, 40);
      const expected = referenceLogits(architecture, weights, ids).flatMap((row) => [...row]);
      assertClose(await engine.logits(ids), expected, 2e-5);
    });
  });
}

for (const lora of [null, { rank: 4, alpha: 8, targets: ['q_proj', 'down_proj'] }]) {
  test(`after the end of training ${lora ? 'of adapters ' : ''}an engine has the trained weights, scores and evaluates, and trains no more`, async () => {
    await withEngine({ lora }, async (engine) => {
      const pairs = await makePairs(engine, 3);
      await engine.step(pairs, 1e-2);
      const state = async () => ({
        weights: await engine.weights(),
        scores: await engine.score(pairs.map(({ chosen }) => chosen)),
        loss: (await engine.evaluate(pairs)).loss,
      });
      const before = await state();
      await engine.endTraining();
      const after = await state();
      assert.deepEqual(after.weights, before.weights);
      for (const [i, logps] of after.scores.entries()) assertClose(logps, before.scores[i]!, 1e-5);
      assert.ok(Math.abs(after.loss - before.loss) < 1e-5);
      await assert.rejects(engine.step(pairs, 1e-2), /opened for scores only/);
    });
  });
}

test('an engine reads its weights from the folder of a checkpoint', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'attune-engine-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const architecture = tinyArchitecture(SMALL_POLICY);
  const weights = tinyWeights(architecture, 4);
  await writeCheckpoint(folder, { architecture, weights });
  await writeFile(join(folder, 'tokenizer.json'), '{}');
  const engine = await openEngine({ architecture, weights: folder, objective: {}, threads: 1 });
  assert.deepEqual(await engine.weights(), weights);
  await engine.close();
});

test('scores and steps do not depend on padding, other sequences or the split into micro-batches', async () => {
  const results: { scores: Float32Array[]; alone: Float32Array; weights: Float32Array; gradNorm: number }[] = [];
  for (const microBatchTokens of [64, 256, 4096]) {
    await withEngine({ microBatchTokens }, async (engine) => {
      const sequences = Array.from({ length: 7 }, (_, i) => makeSequence(i));
      const scores = await engine.score(sequences);
      const [alone] = await engine.score([sequences[0]!]);
      const pairs = await makePairs(engine, 5);
      for (const pair of pairs) pair.refChosenLogps = pair.refChosenLogps.map((x, j) => x - 0.1 * (j % 3));
      const { gradNorm } = await engine.step(pairs, 1e-3);
      const weights = (await engine.weights()).get('model.layers.0.mlp.up_proj.weight')!.data;
      results.push({ scores, alone: alone!, weights, gradNorm });
    });
  }
  const [first, ...others] = results;
  assertClose(first!.alone, first!.scores[0]!, 1e-5);
  for (const other of others) {
    for (const [i, score] of other.scores.entries()) assertClose(score, first!.scores[i]!, 1e-5);
    assertClose([other.gradNorm], [first!.gradNorm], 1e-4 * first!.gradNorm);
    assertClose(other.weights, first!.weights, 1e-4);
  }
});

test('a few steps lower the loss, separate the rewards and change the weights', async () => {
  await withEngine({ objective: { objective: 'lsif' } }, async (engine, { weights }) => {
    const pairs = await makePairs(engine, 4);
    const before = await engine.evaluate(pairs);
    assertClose([before.loss, before.metrics['rewards/margins']!, before.gradNorm], [-0.5, 0, 0], 1e-5);
    assert.equal(before.pairs, 4);
    for (let i = 0; i < 5; i++) await engine.step(pairs, 1e-3);
    const after = await engine.evaluate(pairs);
    assert.ok(after.loss < before.loss - 0.05, `${after.loss}`);
    assert.ok(after.metrics['rewards/chosen']! > 0 && after.metrics['rewards/rejected']! < 0);
    assert.equal(after.metrics['rewards/accuracies'], 1);
    assert.ok(after.metrics['logps/chosen']! > before.metrics['logps/chosen']!);
    const name = 'model.embed_tokens.weight';
    assert.notDeepEqual((await engine.weights()).get(name)!.data, weights.get(name)!.data);
  });
});

test('a pair of weight 2 counts as two pairs in the loss and the gradient', async () => {
  const results: { loss: number; gradNorm: number; weights: Float32Array }[] = [];
  for (const isWeighted of [true, false]) {
    await withEngine({ microBatchTokens: 64 }, async (engine) => {
      const pairs = await makePairs(engine, 3);
      for (const [i, pair] of pairs.entries()) pair.refChosenLogps = pair.refChosenLogps.map((x) => x - 0.1 * i);
      const [first, ...others] = pairs;
      const batch = isWeighted ? [{ ...first!, weight: 2 }, ...others] : [first!, first!, ...others];
      const { loss, gradNorm } = await engine.step(batch, 1e-3);
      results.push({ loss, gradNorm, weights: (await engine.weights()).get('model.embed_tokens.weight')!.data });
    });
  }
  const [weighted, repeated] = results;
  assertClose([weighted!.loss, weighted!.gradNorm], [repeated!.loss, repeated!.gradNorm], 1e-5);
  assertClose(weighted!.weights, repeated!.weights, 1e-5);
});

test('the same steps give the same bits, and a restored state continues with the same bits', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'attune-engine-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'state.safetensors');
  const finalWeights: Float32Array[] = [];
  for (const isResumed of [false, false, true]) {
    await withEngine({}, async (engine) => {
      const pairs = await makePairs(engine, 3);
      if (isResumed) await engine.restore(path);
      else {
        await engine.step(pairs, 1e-3);
        await engine.step(pairs, 2e-3);
        await engine.save(path);
      }
      await engine.step(pairs, 1e-3);
      finalWeights.push((await engine.weights()).get('model.layers.1.self_attn.q_proj.weight')!.data);
    });
  }
  assert.deepEqual(finalWeights[0], finalWeights[1]);
  assert.deepEqual(finalWeights[0], finalWeights[2]);
});

test('a step over no pairs changes nothing', async () => {
  await withEngine({}, async (engine, { weights }) => {
    await engine.step(await makePairs(engine, 1), 0);
    assert.equal((await engine.step([], 1)).pairs, 0);
    for (const [name, { data }] of await engine.weights()) assert.deepEqual(data, weights.get(name)!.data, name);
  });
});

test('a loss that is not finite leaves the weights unchanged, and the report names the pair', async () => {
  await withEngine({}, async (engine, { weights }) => {
    const pairs = await makePairs(engine, 2);
    pairs[1]!.refChosenLogps.fill(Number.NaN);
    const { gradNorm, nonFinite } = await engine.step(pairs, 1e-3);
    assert.ok(Number.isNaN(gradNorm));
    assert.equal(nonFinite, 'pair 1');
    for (const [name, { data }] of await engine.weights()) assert.deepEqual(data, weights.get(name)!.data, name);
  });
});

test('rejects invalid pairs and weights with the reason, and keeps working', async () => {
  await withEngine({}, async (engine, options) => {
    const pairs = await makePairs(engine, 1);
    const wrong = { ...pairs[0]!, refRejectedLogps: new Float32Array(1) };
    await assert.rejects(engine.step([pairs[0]!, wrong], 1e-3), (error) => {
      assert.ok(error instanceof AttuneError);
      assert.match(error.message, /step: pair 1: rejected has 6 response tokens but 1 reference/);
      return error.status === 400;
    });
    await assert.rejects(engine.logits([1, 300]), /token 300 is not in the vocabulary/);
    assert.equal((await engine.evaluate(pairs)).pairs, 1);
    await assert.rejects(openEngine({ ...options, weights: new Map() }), /model.embed_tokens.weight is missing/);
  });
});

test('closing waits for a step in flight, and then every call is rejected', async () => {
  const architecture = tinyArchitecture(SMALL_POLICY);
  const engine = await openEngine({ architecture, weights: tinyWeights(architecture), objective: {} });
  const pairs = await makePairs(engine, 2);
  const step = engine.step(pairs, 1e-3);
  await engine.close();
  assert.equal((await step).pairs, 2);
  await assert.rejects(engine.weights(), /it was closed/);
});

test('a gradient that is not finite while the loss is finite is reported with the parameter', async () => {
  await withEngine({ objective: { objective: 'lsif', reduction: 'sum', beta: 1 } }, async (engine, { weights }) => {
    const [pair] = await makePairs(engine, 1);
    // The loss is half of the weight; the gradient exceeds the largest float32.
    const step = await engine.step([{ ...pair!, importance: { chosen: 1, rejected: 3.4e38 } }], 1e-3);
    assert.ok(Number.isFinite(step.loss), `${step.loss}`);
    assert.ok(!Number.isFinite(step.gradNorm), `${step.gradNorm}`);
    assert.ok(weights.has(step.nonFinite!), step.nonFinite);
    for (const [name, { data }] of await engine.weights()) assert.deepEqual(data, weights.get(name)!.data, name);
  });
});

test('adapters start at the policy, are trained, and are merged into the weights that the engine returns', async () => {
  const lora = { rank: 4, alpha: 8, targets: ['q_proj', 'v_proj', 'up_proj'] };
  await withEngine({ lora }, async (engine, { architecture, weights }) => {
    const pairs = await makePairs(engine, 4);
    for (const [name, { data }] of await engine.weights()) assert.deepEqual(data, weights.get(name)!.data, name);
    const before = await engine.evaluate(pairs);
    for (let i = 0; i < 8; i++) await engine.step(pairs, 1e-2);
    const after = await engine.evaluate(pairs);
    assert.ok(after.loss < before.loss - 0.05, `${after.loss}`);
    const merged = await engine.weights();
    const changed = [...merged.keys()].filter(
      (name) => merged.get(name)!.data.join() !== weights.get(name)!.data.join(),
    );
    assert.equal(changed.length, 6); // three of each of two layers
    const ids = makeTokens(3, 30);
    const unmerged = await engine.logits(ids);
    const plain = await openEngine({ architecture, weights: merged, objective: {}, threads: 2 });
    assertClose(await plain.logits(ids), unmerged, 1e-5);
    await plain.close();
  });
});

test('adapters and their moments are saved without the weights of the policy, and restored', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'attune-engine-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'state.safetensors');
  const lora = { rank: 2, alpha: 4, targets: ['o_proj'] };
  const finalWeights: Float32Array[] = [];
  for (const isResumed of [false, true]) {
    await withEngine({ lora }, async (engine) => {
      const pairs = await makePairs(engine, 3);
      if (isResumed) await engine.restore(path);
      else {
        await engine.step(pairs, 1e-2);
        await engine.save(path);
      }
      await engine.step(pairs, 1e-2);
      finalWeights.push((await engine.weights()).get('model.layers.0.self_attn.o_proj.weight')!.data);
    });
  }
  assert.deepEqual(finalWeights[0], finalWeights[1]);
  const names = [...(await readSafetensors(path)).keys()];
  assert.equal(names.length, 2 * 2 * 3 + 1); // A and B of two layers, each with two moments, and the step
});

test('rejects LoRA targets that the policy does not have, and a memory limit that is too small', async () => {
  const architecture = tinyArchitecture(SMALL_POLICY);
  const weights = tinyWeights(architecture, 4);
  const lora = { rank: 2, alpha: 4, targets: ['c_attn'] };
  await assert.rejects(openEngine({ architecture, weights, objective: {}, lora }), /LORA_TARGETS names c_attn/);
  await assert.rejects(
    openEngine({ architecture, weights, objective: {}, memoryBytes: 2 ** 26 }),
    /needs about 0\.\d GiB, but its limit is 0\.1 GiB/,
  );
});
