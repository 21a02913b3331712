// The pairs of a distillation (OBJECTIVE=distill), the second of the paper's two stages: the parent samples two responses to
// each training prompt, and the reward and the reference score them. The held-out pairs stay those of the raters, with the
// reward's margins.
import { rm } from 'node:fs/promises';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import type { Engine, Sequence, TrainPair } from '../engine/engine.ts';
import { sampleResponses } from '../evaluation/rollouts.ts';
import { keepSamples } from './kept-samples.ts';
import { openPolicyEngine, openRewardEngine } from './policy-engine.ts';
import type { RoundContext } from './round-context.ts';
import type { PlannedSelection } from './round-plan.ts';
import { type ScoredPairs, scoreOnce, scorePairs } from './score-pairs.ts';

/** Two samples of one prompt, not yet compared. */
type SampledPair = { chosen: Sequence; rejected: Sequence };

/** Throws AttuneError if sampling failed. */
export async function distillPairs(context: RoundContext, selection: PlannedSelection): Promise<ScoredPairs> {
  const heldOutPairs = selection.pairs.filter(({ pair }) => pair.split === 'held_out');
  const scored = await scorePairs(context, { ...selection, pairs: heldOutPairs });
  const sampled = await samplePairs(context, selection);

  const { log } = context;
  const { referenceId, tokenizerHash } = selection;
  const rewardId = selection.plan.reward!.id;
  const message = `scoring ${sampled.length} pairs of samples with the reference ${referenceId} and the reward ${rewardId}`;
  await log.enterStage('scoring', message);
  const score = (id: string, open: () => Promise<Engine>, pairs: SampledPair[], note: string) =>
    scoreOnce(log.db, { id, tokenizerHash, open }, pairs, (done, total) =>
      log.reportProgress('scoring', done, total, note),
    );
  const openReference = () => openPolicyEngine(context, selection, referenceId, 'score');
  const reference = await score(referenceId, openReference, sampled, 'pairs by the reference');
  const openReward = () => openRewardEngine(context, selection);
  const pairs = [...sampled, ...scored.heldOut];
  const rewards = (await score(rewardId, openReward, pairs, 'pairs by the reward')).map(({ chosen, rejected }) => ({
    chosen: chosen[0]!,
    rejected: rejected[0]!,
  }));
  const margins = rewards.map(({ chosen, rejected }) => chosen - rejected);

  const ofSamples = rewards.slice(0, sampled.length);
  const meanReward = ofSamples.reduce((sum, { chosen, rejected }) => sum + chosen + rejected, 0) / (2 * sampled.length);
  await log.addEvent('metrics', `the samples have a mean reward of ${meanReward.toFixed(3)}`, { reward: meanReward });
  return {
    ...scored,
    train: sampled.map(({ chosen: y, rejected: z }, at) =>
      preferBetter(y, z, reference[at]!.chosen, reference[at]!.rejected, margins[at]!),
    ),
    heldOut: scored.heldOut.map((pair, at) => ({ ...pair, rewardMargin: margins[sampled.length + at]! })),
  };
}

/** The response with the higher reward as the chosen one; the loss is the same either way, and the metrics say more. */
function preferBetter(y: Sequence, z: Sequence, yLogps: Float32Array, zLogps: Float32Array, margin: number): TrainPair {
  return margin >= 0
    ? { chosen: y, rejected: z, refChosenLogps: yLogps, refRejectedLogps: zLogps, rewardMargin: margin }
    : { chosen: z, rejected: y, refChosenLogps: zLogps, refRejectedLogps: yLogps, rewardMargin: -margin };
}

/** Two responses of the parent to the prompt of each training pair; those that are equal are left out. */
async function samplePairs(context: RoundContext, selection: PlannedSelection): Promise<SampledPair[]> {
  const { log, config, trainer } = context;
  const { parent, parentFolder, architecture } = selection;
  const { requests, rows } = selection.plan.samples!;
  await log.enterStage(
    'sampling',
    `sampling two responses of ${parent.id} to the prompts of ${requests.length / 2} pairs`,
  );
  const folder = `${context.checkpointFolder}-samples`;
  const readWeights = async () => (await readCheckpoint(parentFolder)).weights;
  const { TRAIN_THREADS: threads } = trainer.settings;
  const sampler = { architecture, readWeights, folder, seed: config.seed, threads, rows };
  const responses = await keepSamples(context, hashContent([parent.id, config.seed, requests]), async () => {
    const samples = await sampleResponses(sampler, requests, (done) =>
      log.reportProgress('sampling', done, requests.length, 'samples'),
    ).finally(() => rm(folder, { recursive: true, force: true }));
    return samples.map(({ responseIds }) => responseIds);
  });
  const sampleAt = (at: number): Sequence => ({ promptIds: requests[at]!.promptIds, responseIds: responses[at]! });
  const sampled = Array.from(
    { length: responses.length / 2 },
    (_, at): SampledPair => ({ chosen: sampleAt(2 * at), rejected: sampleAt(2 * at + 1) }),
  );
  const different = sampled.filter(({ chosen, rejected }) => chosen.responseIds.join() !== rejected.responseIds.join());
  if (different.length === 0)
    throw new AttuneError(
      `sampling from ${parent.id} failed: it gave two equal responses to each of the prompts of ${sampled.length} pairs, so there is nothing to compare; collect preferences on other prompts`,
      { code: 'sampling_failed' },
    );
  return different;
}
