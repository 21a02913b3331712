// Runs a real engine and real serving graphs of a policy with a vocabulary of twelve tokens, small enough to enumerate
// its responses.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Weights } from '../../shared/model/tensor.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { pairSequences } from '../../testing/training.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { openEngine } from '../engine/open-engine.ts';
import { evaluatePolicy, evaluateSamples, type SampleEvaluation } from './evaluation.ts';
import { decideGate, type GateBounds } from './gate.ts';
import { planRollouts } from './rollouts.ts';
import { measureSampledKl } from './sampled-kl.ts';

const VOCABULARY = 12;
const EOS = 2;
const architecture = tinyArchitecture({
  layers: 1,
  hiddenSize: 16,
  intermediateSize: 16,
  heads: 2,
  kvHeads: 1,
  vocabSize: VOCABULARY,
  contextLength: 64,
  tied: false,
});
const bounds: GateBounds = {
  objective: 'lsif',
  reduction: 'mean',
  gate_kl: 50,
  gate_chosen_drop: 0.3,
  gate_length: 1.5,
  gate_repetition: 0.1,
};
const parentWeights = () => tinyWeights(architecture, 2);
const prompts = Array.from({ length: 10 }, (_, i) => [1, 3 + (i % 9), 3 + ((i * 5) % 8)]);

async function open(t: TestContext, weights: Weights): Promise<Engine> {
  const engine = await openEngine({ architecture, weights, objective: {}, threads: 1 });
  t.after(() => engine.close());
  return engine;
}

/** Chosen responses begin with token 7 and rejected ones with 8; the reference is the engine's current policy. */
async function makePairs(engine: Engine, count: number, length: number, seed: number): Promise<TrainPair[]> {
  const response = (first: number, i: number) => [
    first,
    ...Array.from({ length: length - 2 }, (_, j) => 3 + ((i * 7 + j * j + seed) % 9)),
    EOS,
  ];
  const sides = Array.from({ length: count }, (_, i) => {
    const promptIds = prompts[i % prompts.length]!;
    return [
      { promptIds, responseIds: response(7, i) },
      { promptIds, responseIds: response(8, i + 3) },
    ] as const;
  });
  return pairSequences(engine, sides.flat());
}

async function sampleBoth(
  t: TestContext,
  engine: Engine,
  heldOut: TrainPair[],
  { reference = parentWeights(), samples = 32, progress = [] as string[] } = {},
): Promise<SampleEvaluation> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-evaluation-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return evaluateSamples({
    architecture,
    requests: planRollouts(heldOut, samples, architecture),
    rows: 16,
    engine,
    readBaseline: async () => parentWeights(),
    openRoot: () => openEngine({ architecture, weights: reference, objective: {}, threads: 1 }),
    seed: 3,
    threads: 1,
    folder,
    onProgress: (done, total) => progress.push(`${done}/${total}`),
  });
}

test('a candidate equal to its parent has a KL of 0 and equal samples, and is refused', async (t) => {
  const engine = await open(t, parentWeights());
  const heldOut = await makePairs(engine, 20, 6, 0);
  const [before, after] = [await evaluatePolicy(engine, heldOut), await evaluatePolicy(engine, heldOut)];
  const progress: string[] = [];
  const samples = await sampleBoth(t, engine, heldOut, { progress });
  assert.deepEqual(samples.kl, { value: 0, interval: { low: 0, high: 0 } });
  assert.equal(samples.lengthRatio.value, 1);
  assert.equal(samples.repetitionGrowth.value, 0);
  const { 'objective/kl': _, 'objective/kl_per_token': __, ...own } = samples.metrics;
  assert.deepEqual(own, samples.baseline);
  for (const done of ['32/128', '64/128', '96/128', '128/128']) assert.ok(progress.includes(done), `${progress}`);
  const decision = decideGate(before, after, samples, bounds);
  assert.equal(decision.pass, false);
  const [improvement, ...guards] = decision.checks;
  assert.deepEqual(improvement!.interval, { low: 0, high: 0 });
  assert.ok(guards.every(({ pass }) => pass));
});

test('log-probabilities per token and outcomes equal those of scored responses', async (t) => {
  const engine = await open(t, tinyWeights(architecture, 5));
  const parent = await open(t, parentWeights());
  const heldOut = await makePairs(parent, 12, 5, 1);
  const { logps, metrics, intervals, outcomes } = await evaluatePolicy(engine, heldOut);
  const scores = await engine.score(heldOut.map(({ rejected }) => rejected));
  for (const [i, own] of scores.entries()) {
    const mean = own.reduce((sum, logp) => sum + logp, 0) / own.length;
    assert.ok(Math.abs(logps.rejected[i]! - mean) < 1e-5);
  }
  const right =
    outcomes.filter(({ chosenLogRatio, rejectedLogRatio }) => chosenLogRatio > rejectedLogRatio).length / 12;
  assert.ok(Math.abs(metrics['rewards/accuracies']! - right) < 1e-9);
  for (const [name, interval] of Object.entries(intervals)) {
    assert.ok(interval!.low <= metrics[name]! && metrics[name]! <= interval!.high, name);
    assert.ok(interval!.low < interval!.high, name);
  }
});

test('an evaluation goes in chunks, is that of all pairs at once, and stops between two', async (t) => {
  const engine = await open(t, tinyWeights(architecture, 5));
  const heldOut = await makePairs(await open(t, parentWeights()), 70, 4, 1);
  const progress: number[][] = [];
  const { metrics, outcomes } = await evaluatePolicy(engine, heldOut, 0, (...seen) => progress.push(seen));
  assert.deepEqual(progress, [
    [32, 70],
    [64, 70],
    [70, 70],
  ]);
  const whole = await engine.evaluate(heldOut);
  const expected: Record<string, number> = { loss: whole.loss, ...whole.metrics };
  assert.deepEqual(Object.keys(metrics), Object.keys(expected));
  for (const [name, value] of Object.entries(expected)) assert.ok(Math.abs(metrics[name]! - value) < 1e-4, name);
  for (const [i, { loss }] of whole.outcomes.entries()) assert.ok(Math.abs(outcomes[i]!.loss - loss) < 1e-4);

  let calls = 0;
  const counting = { ...engine, evaluate: (pairs: TrainPair[]) => engine.evaluate(pairs).finally(() => calls++) };
  const stop = () => {
    throw new Error('stopped');
  };
  await assert.rejects(evaluatePolicy(counting, heldOut, 0, stop), /stopped/);
  assert.equal(calls, 1);
});

test('a policy that has learned the preferences passes', async (t) => {
  const engine = await open(t, parentWeights());
  const train = await makePairs(engine, 40, 6, 0);
  const heldOut = await makePairs(engine, 20, 6, 4);
  const before = await evaluatePolicy(engine, heldOut);
  for (let step = 0; step < 12; step++) await engine.step(train, 3e-3);
  const after = await evaluatePolicy(engine, heldOut);
  const samples = await sampleBoth(t, engine, heldOut);
  const decision = decideGate(before, after, samples, bounds);
  assert.equal(decision.pass, true, decision.reason);
  assert.ok(decision.checks[0]!.interval!.low > 0);
  assert.ok(samples.kl.value > 0);
});

test('a policy that repeats one token is refused for length, repetition, KL and the drop of chosen responses', async (t) => {
  const engine = await open(t, repeatToken(7));
  const parent = await open(t, parentWeights());
  const heldOut = await makePairs(parent, 20, 40, 0);
  const samples = await sampleBoth(t, engine, heldOut);
  assert.equal(samples.metrics['completions/clipped_ratio'], 1);
  assert.ok(samples.baseline['completions/clipped_ratio']! < 0.5);
  assert.ok(samples.metrics['completions/distinct_2']! < 0.01);
  const [before, after] = [await evaluatePolicy(parent, heldOut), await evaluatePolicy(engine, heldOut)];
  const { checks } = decideGate(before, after, samples, bounds);
  for (const { name, pass } of checks.slice(1)) assert.equal(pass, false, name);
});

test('the interval of the KL estimate contains the exact KL for responses of one and of two tokens', async (t) => {
  const weights = tinyWeights(architecture, 5);
  const engine = await open(t, weights);
  const reference = await open(t, parentWeights());
  for (const length of [1, 2]) {
    const heldOut = prompts.map((promptIds) => pairOfLength(promptIds, length));
    let exact = 0;
    for (const promptIds of prompts) exact += (await exactKl(engine, reference, promptIds, length)) / prompts.length;
    // A whole number of samples per prompt.
    const { kl, klPerToken, metrics } = await sampleBoth(t, engine, heldOut, { samples: 1000 });
    const { low, high } = kl.interval!;
    assert.ok(low <= exact && exact <= high, `${exact} is not in [${low}, ${high}]`);
    assert.ok(low > 0 && high - low < exact, `[${low}, ${high}] is too wide for ${exact}`);
    assert.ok(Math.abs(klPerToken.value * metrics['completions/mean_length']! - kl.value) < 1e-9);
  }
});

test('the KL during training is the exact one too, nearer than that of the gate, and leaves the engine as it was', async (t) => {
  const engine = await open(t, tinyWeights(architecture, 5));
  const reference = await open(t, parentWeights());
  const heldOut = prompts.map((promptIds) => pairOfLength(promptIds, 2));
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-kl-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  let exact = 0;
  for (const promptIds of prompts) exact += (await exactKl(engine, reference, promptIds, 2)) / prompts.length;
  const measure = (weights: Weights, samples: number) =>
    measureSampledKl({
      architecture,
      requests: planRollouts(heldOut, samples, architecture),
      rows: 16,
      engine,
      openRoot: () => openEngine({ architecture, weights, objective: {}, threads: 1 }),
      seed: 3,
      threads: 1,
      folder,
      onProgress: () => {},
    });
  const before = (await engine.weights()).get('lm_head.weight')!.data;
  const kl = await measure(parentWeights(), 1000);
  const { low, high } = (await sampleBoth(t, engine, heldOut, { samples: 1000 })).kl.interval!;
  assert.ok(Math.abs(kl - exact) < (high - low) / 2, `${kl} instead of ${exact}`);
  assert.ok((await measure(parentWeights(), 10)) > 0);
  assert.equal(await measure(tinyWeights(architecture, 5), 10), 0);
  assert.deepEqual((await engine.weights()).get('lm_head.weight')!.data, before);
  assert.deepEqual(await readdir(folder), []);
});

function pairOfLength(promptIds: number[], length: number): TrainPair {
  const side = { promptIds, responseIds: Array<number>(length).fill(5) };
  const logps = new Float32Array(length);
  return { chosen: side, rejected: side, refChosenLogps: logps, refRejectedLogps: logps };
}

/** KL of the next token and, after each that is not the end, of the tokens after it. */
async function exactKl(policy: Engine, reference: Engine, ids: number[], length: number): Promise<number> {
  const [p, q] = [await nextLogps(policy, ids), await nextLogps(reference, ids)];
  let kl = 0;
  for (const [token, logp] of p.entries()) {
    const rest = length > 1 && token !== EOS ? await exactKl(policy, reference, [...ids, token], length - 1) : 0;
    kl += Math.exp(logp) * (logp - q[token]! + rest);
  }
  return kl;
}

async function nextLogps(engine: Engine, ids: number[]): Promise<number[]> {
  const logits = [...(await engine.logits(ids)).slice(-VOCABULARY)];
  const normalizer = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  return logits.map((logit) => logit - normalizer);
}

/** The first component of every hidden state is large, and only this token's logit depends on it. */
function repeatToken(token: number): Weights {
  const weights = parentWeights();
  const { data: table } = weights.get('model.embed_tokens.weight')!;
  const { data: norm } = weights.get('model.norm.weight')!;
  const { data: head } = weights.get('lm_head.weight')!;
  const width = architecture.hiddenSize;
  for (let row = 0; row < VOCABULARY; row++) {
    table[row * width] = 100;
    head[row * width] = row === token ? 5 : 0;
  }
  norm[0] = 1;
  return weights;
}
