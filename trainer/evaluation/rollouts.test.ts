import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { referenceLogits } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import type { TrainPair } from '../engine/engine.ts';
import { distinctNgramRatio, planRollouts, sampleResponses } from './rollouts.ts';

const architecture = tinyArchitecture({
  layers: 1,
  hiddenSize: 16,
  intermediateSize: 16,
  heads: 2,
  kvHeads: 1,
  vocabSize: 12,
  contextLength: 24,
});
const weights = tinyWeights(architecture, 3);
const readWeights = async () => tinyWeights(architecture, 3);

async function openFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-samples-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function pairOf(promptIds: number[], chosen: number, rejected: number): TrainPair {
  return {
    chosen: { promptIds, responseIds: Array<number>(chosen).fill(5) },
    rejected: { promptIds, responseIds: Array<number>(rejected).fill(6) },
    refChosenLogps: new Float32Array(chosen),
    refRejectedLogps: new Float32Array(rejected),
  };
}

test('samples are spread round robin over the distinct prompts, with the 90% quantile of lengths and the context as limits', () => {
  const long = [1, ...Array<number>(19).fill(4)];
  const pairs = [pairOf([1, 3], 2, 4), pairOf([1, 3], 8, 5), pairOf(long, 3, 3), pairOf([1, 4], 3, 7)];
  const requests = planRollouts([...pairs, pairOf([1, 3], 20, 6)], 5, architecture);
  assert.deepEqual(
    requests.map(({ promptIndex, maxTokens }) => [promptIndex, maxTokens]),
    [
      [0, 8],
      [1, 4],
      [2, 8],
      [0, 8],
      [1, 4],
    ],
  );
  assert.deepEqual(requests[2]!.promptIds, [1, 4]);
});

test('a response ends at the end-of-text token or at maxTokens, and is the same alone, in turns and in a batch', async (t) => {
  const sampler = { architecture, readWeights, folder: await openFolder(t), seed: 7, threads: 1 };
  // 20 requests of different lengths, so that rows leave the cache at different steps.
  const requests = Array.from({ length: 20 }, (_, i) => ({
    promptIds: [1, ...Array.from({ length: i % 4 }, (_, j) => 3 + ((i + j) % 9))],
    promptIndex: i,
    maxTokens: 3 + (i % 17),
  }));
  const progress: number[] = [];
  const sequences = await sampleResponses(sampler, requests, (done) => progress.push(done));
  assert.equal(progress.at(-1), 20);
  // Also while no response ends.
  const longest = sequences.reduce((longest, { responseIds }) => Math.max(longest, responseIds.length), 0);
  assert.ok(progress.length >= longest, `${progress.length} reports`);
  assert.deepEqual(
    progress,
    progress.toSorted((a, b) => a - b),
  );
  assert.deepEqual(await readdir(sampler.folder), []);
  const stopped = sequences.filter(({ responseIds }) => responseIds.at(-1) === 2);
  assert.ok(stopped.length > 2 && stopped.length < 20, `${stopped.length} stopped`);
  for (const [i, { promptIds, responseIds }] of sequences.entries()) {
    assert.deepEqual(promptIds, requests[i]!.promptIds);
    assert.ok(!responseIds.slice(0, -1).includes(2));
    if (responseIds.at(-1) !== 2) assert.equal(responseIds.length, requests[i]!.maxTokens);
  }
  const first = await sampleResponses(sampler, requests.slice(0, 1));
  assert.deepEqual(first[0], sequences[0]);
  for (const rows of [1, 3]) assert.deepEqual(await sampleResponses({ ...sampler, rows }, requests), sequences);
  const others = await sampleResponses({ ...sampler, seed: 8 }, requests);
  assert.notDeepEqual(others, sequences);
});

test('tokens are sampled with the probabilities of the policy', async (t) => {
  const promptIds = [1, 5, 9];
  const requests = Array.from({ length: 2000 }, () => ({ promptIds, promptIndex: 0, maxTokens: 1 }));
  const samples = await sampleResponses(
    { architecture, readWeights, folder: await openFolder(t), seed: 1, threads: 1 },
    requests,
  );
  const logits = referenceLogits(architecture, weights, promptIds).at(-1)!;
  const total = [...logits].reduce((sum, logit) => sum + Math.exp(logit), 0);
  for (const [token, logit] of [...logits].entries()) {
    const p = Math.exp(logit) / total;
    const share = samples.filter(({ responseIds }) => responseIds[0] === token).length / 2000;
    assert.ok(Math.abs(share - p) < 4 * Math.sqrt((p * (1 - p)) / 2000), `token ${token}: ${share}, not ${p}`);
  }
});

test('a policy whose logits are not finite fails and leaves no files', async (t) => {
  const folder = await openFolder(t);
  const readBroken = async () => {
    const broken = tinyWeights(architecture, 3);
    broken.get('model.norm.weight')!.data.fill(Number.NaN);
    return broken;
  };
  const requests = [{ promptIds: [1], promptIndex: 0, maxTokens: 4 }];
  await assert.rejects(
    sampleResponses({ architecture, readWeights: readBroken, folder, seed: 0, threads: 1 }, requests),
    /logits of the policy are not finite/,
  );
  assert.deepEqual(await readdir(folder), []);
});

test('an n-gram that occurs in several responses counts as one distinct n-gram', () => {
  assert.equal(
    distinctNgramRatio(
      [
        [1, 2, 3],
        [1, 2, 3],
        [1, 2],
      ],
      2,
    ),
    2 / 5,
  );
  assert.equal(distinctNgramRatio([[1], []], 2), 1);
});
