// A reward in the training engine: a policy's body with a scalar head, read at the last token of a response.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from '../../shared/decoder/random.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { referenceReward } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { makeSequence, makeTokens, SMALL_POLICY, zeroGradients } from '../../testing/training.ts';
import { addRewardHead } from '../model/reward-head.ts';
import { parseRewardObjective, type RewardLossSettings } from '../objectives.ts';
import { type InputArrays, packResponseEnds } from './batch.ts';
import { CpuSessions } from './devices/cpu/cpu-sessions.ts';
import { type Engine, NO_REFERENCE, type Sequence, type TrainPair } from './engine.ts';
import { type EngineOptions, openEngine } from './open-engine.ts';
import { gradientName } from './programs.ts';

const architecture = tinyArchitecture({ ...SMALL_POLICY, variant: { output: 'reward' } });
const BRADLEY_TERRY: RewardLossSettings = { reward_loss: 'bradley_terry', negatives: 'rejected' };
const DENSITY_RATIO: RewardLossSettings = { reward_loss: 'density_ratio', negatives: 'rejected' };

async function withReward(options: Partial<EngineOptions>, work: (engine: Engine) => Promise<void>): Promise<void> {
  const weights = tinyWeights(architecture, 4);
  const objective = parseRewardObjective(BRADLEY_TERRY);
  const engine = await openEngine({ architecture, weights, objective, threads: 1, ...options });
  try {
    await work(engine);
  } finally {
    await engine.close();
  }
}

const toPair = (chosen: Sequence, rejected: Sequence): TrainPair => ({ chosen, rejected, ...NO_REFERENCE });
const reference = (weights: Weights, { promptIds, responseIds }: Sequence) =>
  referenceReward(architecture, weights, [...promptIds, ...responseIds]);

function assertClose(actual: number, expected: number, tolerance: number, label = ''): void {
  assert.ok(Math.abs(actual - expected) < tolerance, `${label} ${actual} is not ${expected}`);
}

test('a reward scores each response at its last token, whatever else is in the batch', async () => {
  const weights = tinyWeights(architecture, 4);
  // Two responses to one prompt are packed behind it.
  const sequences = [...[1, 2, 7, 9].map(makeSequence), { ...makeSequence(1), responseIds: makeTokens(8, 3) }];
  for (const microBatchTokens of [16, 4096])
    await withReward({ microBatchTokens }, async (engine) => {
      const scores = await engine.score(sequences);
      for (const [i, sequence] of sequences.entries()) {
        assert.equal(scores[i]!.length, 1);
        assertClose(scores[i]![0]!, reference(weights, sequence), 2e-5, `sequence ${i}:`);
      }
    });
});

test('a reward whose weights were moved to its engine scores the same after its training ended', async () => {
  const weights = tinyWeights(architecture, 4);
  await withReward({ weights, movesWeights: true }, async (engine) => {
    for (const { data } of weights.values()) assert.equal(data.length, 0);
    const sequences = [1, 2, 7, 9].map(makeSequence);
    await engine.step([toPair(sequences[0]!, sequences[1]!)], 1e-2);
    const before = await engine.score(sequences);
    await engine.endTraining();
    const after = await engine.score(sequences);
    for (const [i, [reward]] of after.entries()) assertClose(reward!, before[i]![0]!, 1e-5);
  });
});

test('a response may fill the context, and one token more is refused', async () => {
  await withReward({}, async (engine) => {
    const responseIds = makeTokens(1, architecture.contextLength - 2);
    const [[reward]] = (await engine.score([{ promptIds: [1, 2], responseIds }])) as [Float32Array];
    assert.ok(Number.isFinite(reward));
    const tooLong = { promptIds: [1, 2, 3], responseIds };
    await assert.rejects(engine.score([tooLong]), { code: 'invalid_sequence', message: /exceed the context of 128/ });
  });
});

for (const settings of [BRADLEY_TERRY, DENSITY_RATIO, { ...DENSITY_RATIO, negatives: 'both' as const }]) {
  const name = `${settings.reward_loss}, negatives ${settings.negatives}`;
  test(`the loss of ${name} and its gradient equal those of the double-precision reference`, async () => {
    const weights = tinyWeights(architecture, 5);
    const [chosen, rejected] = [
      [makeSequence(1), makeSequence(2)],
      [makeSequence(3), makeSequence(4)],
    ] as const;
    const batch = packResponseEnds([...chosen, ...rejected], { reduction: 'sum' });
    const inputs: InputArrays = new Map([...weights, ...batch.arrays, ...zeroGradients(weights)])
      .set('refLogps', { shape: [4], data: new Float32Array(4) })
      .set('importance', { shape: [4], data: new Float32Array(4).fill(1) })
      .set('rewardMargins', { shape: [2], data: new Float32Array(2) })
      .set('pairWeights', { shape: [2], data: Float32Array.from([0.25, 0.75]) });
    const sessions = new CpuSessions({ architecture, objective: parseRewardObjective(settings), threads: 1 });
    const outputs = await sessions.run('step', batch.bucket, inputs);
    await sessions.close();

    const pairLoss = (w: number, l: number): number => {
      if (settings.reward_loss === 'bradley_terry') return Math.log1p(Math.exp(l - w));
      const negatives = settings.negatives === 'both' ? [w, l] : [l];
      return negatives.reduce((sum, r) => sum + Math.exp(2 * r) / (2 * negatives.length), -Math.exp(w));
    };
    const losses = (of: Weights) => chosen.map((w, i) => pairLoss(reference(of, w), reference(of, rejected[i]!)));
    for (const [i, loss] of losses(weights).entries()) assertClose(outputs.get('losses')![i]!, loss, 1e-4);

    for (const [parameter, { shape, data }] of weights) {
      const gradient = outputs.get(gradientName(parameter))!;
      const steepest = gradient.reduce((best, slope, i) => (Math.abs(slope) > Math.abs(gradient[best]!) ? i : best), 0);
      const lossAt = (value: number) => {
        const moved = data.slice();
        moved[steepest] = value;
        const [first, second] = losses(new Map(weights).set(parameter, { shape, data: moved }));
        return { at: moved[steepest]!, loss: 0.25 * first! + 0.75 * second! };
      };
      const [up, down] = [lossAt(data[steepest]! + 1e-3), lossAt(data[steepest]! - 1e-3)];
      const slope = (up.loss - down.loss) / (up.at - down.at);
      assertClose(gradient[steepest]!, slope, 1e-3 * Math.abs(slope) + 1e-5, parameter);
    }
  });
}

/** Raters prefer the response with more of the tokens 10 to 14. */
function plantTaste(count: number, seed: number): TrainPair[] {
  const random = seedRandom(seed, 0);
  const makeIds = (length: number) => Array.from({ length }, () => 10 + Math.floor(10 * random()));
  const taste = ({ responseIds }: Sequence) => responseIds.filter((id) => id < 15).length;
  return Array.from({ length: count }, () => {
    const promptIds = makeIds(3);
    while (true) {
      const [a, b] = [makeIds(6), makeIds(8)].map((responseIds) => ({ promptIds, responseIds })) as [
        Sequence,
        Sequence,
      ];
      if (taste(a) !== taste(b)) return taste(a) > taste(b) ? toPair(a, b) : toPair(b, a);
    }
  });
}

const POLICY = tinyArchitecture(SMALL_POLICY);

for (const lora of [null, { rank: 8, alpha: 16, targets: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] }]) {
  test(`a reward learns a planted taste ${lora ? 'with adapters' : 'from a policy'}, and its weights keep it`, async () => {
    const start = addRewardHead({ architecture: POLICY, weights: tinyWeights(POLICY, 2) });
    const [train, heldOut] = [plantTaste(96 * 32, 1), plantTaste(128, 2)];
    let trained: Weights | undefined;
    let rewards: Float32Array[] = [];
    await withReward({ ...start, lora }, async (engine) => {
      const before = await engine.evaluate(heldOut);
      assertClose(before.loss, Math.LN2, 1e-6);
      for (let step = 0; step < 96; step++)
        await engine.step(train.slice(32 * step, 32 * step + 32), lora ? 1e-2 : 5e-3);
      const after = await engine.evaluate(heldOut);
      assert.ok(after.metrics['rewards/accuracies']! > 0.8, `${after.metrics['rewards/accuracies']}`);
      assert.ok(after.metrics['rewards/margins']! > 0);
      trained = await engine.weights();
      rewards = await engine.score(heldOut.map(({ chosen }) => chosen));
    });
    await withReward({ ...start, weights: trained! }, async (engine) => {
      const again = await engine.score(heldOut.map(({ chosen }) => chosen));
      for (const [i, [reward]] of again.entries()) assertClose(reward!, rewards[i]![0]!, 1e-4);
    });
  });
}
