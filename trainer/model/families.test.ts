// Each model family in the trainer: logits against those that golden.py recorded from Hugging Face transformers, and
// the path from a checkpoint through training to a published checkpoint and back.
import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Checkpoint, readCheckpoint } from '../../shared/model/checkpoint.ts';
import { toCheckpointTensors } from '../../shared/model/checkpoint-tensors.ts';
import { writeSafetensors } from '../../shared/model/safetensors.ts';
import { writePolicyGraphs } from '../../shared/onnx/write-graphs.ts';
import { GOLDEN_CASES, GOLDEN_SEED, maxDeviation, readGoldens } from '../../testing/golden.ts';
import { referenceLogits, referenceLogps } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights, writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { openEngine } from '../engine/open-engine.ts';
import { verifyExport } from '../evaluation/verify-export.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-trained-'));
after(() => rm(root, { recursive: true, force: true }));
const { ids, stride, cases } = readGoldens();
const TOLERANCE = 1e-4;

async function withEngine(checkpoint: Checkpoint, work: (engine: Engine) => Promise<void>): Promise<void> {
  const engine = await openEngine({ ...checkpoint, objective: { objective: 'bce' }, threads: 2, engine: 'onnx' });
  try {
    await work(engine);
  } finally {
    await engine.close();
  }
}

for (const [name, options] of Object.entries(GOLDEN_CASES)) {
  test(`${name}: the trainer and the double-precision reference match the logits of transformers`, async () => {
    const golden = cases[name]!;
    const architecture = tinyArchitecture(options);
    const weights = tinyWeights(architecture, GOLDEN_SEED);
    for (const [at, logits] of referenceLogits(architecture, weights, ids).entries()) {
      const difference = maxDeviation(golden, stride, at, logits);
      assert.ok(difference < TOLERANCE, `double precision at ${at}: ${difference}`);
    }
    await withEngine({ architecture, weights }, async (engine) => {
      const all = await engine.logits(ids);
      for (const at of ids.keys()) {
        const actual = all.subarray(at * architecture.vocabSize, (at + 1) * architecture.vocabSize);
        const difference = maxDeviation(golden, stride, at, actual);
        assert.ok(difference < TOLERANCE, `engine at ${at}: ${difference}`);
      }
      const sequence = { promptIds: ids.slice(0, 6), responseIds: ids.slice(6) };
      const [scores] = await engine.score([sequence]);
      const expected = referenceLogps(architecture, weights, sequence.promptIds, sequence.responseIds);
      for (const [j, score] of scores!.entries())
        assert.ok(Math.abs(score - expected[j]!) < TOLERANCE, `score ${j}: ${score} is not ${expected[j]}`);
    });
  });
}

for (const [name, options] of Object.entries(GOLDEN_CASES)) {
  test(`${name}: a checkpoint is trained, exported and read back as a checkpoint of its family`, async () => {
    const from = join(root, `${name}-from`);
    const to = join(root, `${name}-to`);
    await writeTinyCheckpoint(from, options);
    const imported = await readCheckpoint(from);
    const { architecture } = imported;
    await withEngine(imported, async (engine) => {
      const chosen = { promptIds: ids.slice(0, 4), responseIds: ids.slice(4, 10) };
      const rejected = { promptIds: ids.slice(0, 4), responseIds: ids.slice(10) };
      const [refChosenLogps, refRejectedLogps] = await engine.score([chosen, rejected]);
      const pair: TrainPair = {
        chosen,
        rejected,
        refChosenLogps: refChosenLogps!,
        refRejectedLogps: refRejectedLogps!,
      };
      const { loss: before } = await engine.step([pair], 1e-3);
      const { loss: afterwards } = await engine.evaluate([pair]);
      assert.ok(afterwards < before - 1e-3, `${before} became ${afterwards}`);

      // As publishing does with a policy's files.
      await mkdir(to);
      for (const file of ['config.json', 'generation_config.json', 'tokenizer.json'])
        await copyFile(join(from, file), join(to, file));
      const weights = await engine.weights();
      await writeSafetensors(join(to, 'model.safetensors'), toCheckpointTensors(architecture, weights));
      await writePolicyGraphs(to, architecture, weights);
      await verifyExport(to, architecture, engine, [[...chosen.promptIds, ...chosen.responseIds]]);
      const reloaded = await readCheckpoint(to);
      assert.deepEqual(reloaded.architecture, architecture);
      for (const [tensor, { data }] of reloaded.weights) {
        const trained = weights.get(tensor)!.data;
        // Gemma stores gains minus one, which can cost the last bit.
        for (const [at, value] of data.entries())
          assert.ok(Math.abs(value - trained[at]!) <= (architecture.family === 'gemma' ? 1e-7 : 0), `${tensor} ${at}`);
        // Added to every key and not rotated, a bias changes no attention probability and has no gradient.
        const hasNoGradient = architecture.positions === 'learned' && tensor.endsWith('k_proj.bias');
        if (!hasNoGradient) assert.notDeepEqual(data, imported.weights.get(tensor)!.data, `${tensor} did not move`);
      }
    });
  });
}
