// The pairs of a distillation (OBJECTIVE=distill), the second of the paper's two stages: the parent samples two responses to
// each training prompt, and the reward and the reference score them. The held-out pairs stay those of the raters, with the
// reward's margins.
import { rm } from 'node:fs/promises';
import type { Database } from '../../shared/database/connect.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import { getReward } from '../../shared/store/registry.ts';
import type { Engine, Sequence, TrainPair } from '../engine/engine.ts';
import { chooseRolloutRows, resolveMemoryBudget } from '../engine/memory-estimate.ts';
import { findLongest, planRollouts, sampleResponses } from '../evaluation/rollouts.ts';
import { keepSamples } from './kept-samples.ts';
import { openPolicyEngine, openRewardEngine } from './policy-engine.ts';
import type { RoundContext, TrainerContext } from './round-context.ts';
import { type ScoredPairs, scoreOnce, scorePairs } from './score-pairs.ts';
import type { Selection } from './select-pairs.ts';

/** Two samples of one prompt, not yet compared. */
type SampledPair = { chosen: Sequence; rejected: Sequence };

/** Throws AttuneError if there is no such reward, it has another tokenizer, or sampling failed. */
export async function distillPairs(context: RoundContext, selection: Selection): Promise<ScoredPairs> {
  const rewardId = await findReward(context.trainer, context.log.db, selection, context.config);
  const heldOutPairs = selection.pairs.filter(({ pair }) => pair.split === 'held_out');
  const scored = await scorePairs(context, { ...selection, pairs: heldOutPairs });
  const sampled = await samplePairs(context, selection);

  const { log } = context;
  const { referenceId, tokenizerHash } = selection;
  const message = `scoring ${sampled.length} pairs of samples with the reference ${referenceId} and the reward ${rewardId}`;
  await log.enterStage('scoring', message);
  const score = (id: string, open: () => Promise<Engine>, pairs: SampledPair[], note: string) =>
    scoreOnce(log.db, { id, tokenizerHash, open }, pairs, (done, total) =>
      log.reportProgress('scoring', done, total, note),
    );
  const openReference = () => openPolicyEngine(context, selection, referenceId, 'score');
  const reference = await score(referenceId, openReference, sampled, 'pairs by the reference');
  const openReward = () => openRewardEngine(context, selection, rewardId);
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

/** The reward of the settings. Throws AttuneError if there is no such one, or it has another tokenizer. */
export async function findReward(
  { store }: TrainerContext,
  db: Database,
  selection: Selection,
  config: RoundSettings,
): Promise<string> {
  if (config.reward === null)
    throw new AttuneError('distill: REWARD is not set; set it to the id of a reward (GET /v1/rewards lists them)', {
      param: 'reward',
      code: 'reward_missing',
    });
  const { id } = await getReward(db, config.reward);
  const { tokenizer_hash } = await readManifest(await store.getFolder(id));
  if (tokenizer_hash !== selection.tokenizerHash)
    throw new AttuneError(
      `the reward ${id} has another tokenizer than ${selection.parent.id}, which the round starts from; train a reward from that policy`,
      { param: 'reward', code: 'tokenizer_mismatch' },
    );
  return id;
}

/** Two different responses of the parent to each prompt, in turns until there are at least as many as training pairs. */
async function samplePairs(context: RoundContext, selection: Selection): Promise<SampledPair[]> {
  const { log, config, trainer } = context;
  const { parent, parentFolder, architecture, pairs } = selection;
  const tokens = pairs.filter(({ pair }) => pair.split === 'train').map((pair) => pair.tokens);
  await log.enterStage('sampling', `sampling two responses of ${parent.id} to each of ${tokens.length} prompts`);
  const prompts = new Set(tokens.map(({ chosen }) => chosen.promptIds.join())).size;
  // Round robin over the prompts: a request and the one a turn later have the same prompt.
  const turns = 2 * Math.ceil(tokens.length / prompts);
  const requests = planRollouts(tokens, turns * prompts, architecture);
  const folder = `${context.checkpointFolder}-samples`;
  const readWeights = async () => (await readCheckpoint(parentFolder)).weights;
  const { TRAIN_MEMORY, TRAIN_THREADS: threads } = trainer.settings;
  const rows = chooseRolloutRows({ architecture }, findLongest(requests), resolveMemoryBudget(TRAIN_MEMORY));
  const sampler = { architecture, readWeights, folder, seed: config.seed, threads, rows };
  const responses = await keepSamples(context, hashContent([parent.id, config.seed, requests]), async () => {
    const samples = await sampleResponses(sampler, requests, (done) =>
      log.reportProgress('sampling', done, requests.length, 'samples'),
    ).finally(() => rm(folder, { recursive: true, force: true }));
    return samples.map(({ responseIds }) => responseIds);
  });
  const sampleAt = (at: number): Sequence => ({ promptIds: requests[at]!.promptIds, responseIds: responses[at]! });
  const sampled: SampledPair[] = [];
  for (let turn = 0; turn < turns; turn += 2)
    for (let prompt = 0; prompt < prompts; prompt++)
      sampled.push({ chosen: sampleAt(turn * prompts + prompt), rejected: sampleAt((turn + 1) * prompts + prompt) });
  const different = sampled.filter(({ chosen, rejected }) => chosen.responseIds.join() !== rejected.responseIds.join());
  if (different.length === 0)
    throw new AttuneError(
      `sampling from ${parent.id} failed: it gave two equal responses to each of ${prompts} prompts, so there is nothing to compare; collect preferences on other prompts`,
      { code: 'sampling_failed' },
    );
  return different;
}
