// Stage 1: the parent policy, the reference and the pairs of a round. A resumed round keeps the ones it has saved.
// planSelection writes nothing, so that `attune train --dry-run` can call it.

import type { Database } from '../../shared/database/connect.ts';
import type { PairCounts, PairOrigins } from '../../shared/database/round-types.ts';
import { hashList } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import { listMethodSettings, type RoundSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import { MIN_CLUSTERS } from '../../shared/statistics/confidence-interval.ts';
import type { LocalStore } from '../../shared/store/local-store.ts';
import { getPolicy, getRootId } from '../../shared/store/registry.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { limitHeldOut } from '../data/held-out-pairs.ts';
import { describeOrigins } from '../data/pair-origins.ts';
import { type FoundPairs, findPairs, findRoundPairs, type RoundPair, saveRoundPairs } from '../data/round-pairs.ts';
import { countByStaleness, findAncestors } from '../data/staleness.ts';
import { countInputTokens } from '../engine/packing.ts';
import { type FilteredPairs, filterPairs, type SelectedPair } from './filter-pairs.ts';
import { logSelection, logShares } from './messages.ts';
import { listParts } from './planned-parts.ts';
import type { RoundContext, TrainerContext } from './round-context.ts';
import { type PlannedSelection, planRound } from './round-plan.ts';
import type { Selection } from './selection.ts';
import { omitUnsettled, writeIfSettled } from './unsettled-raters.ts';

export async function selectPairs(context: RoundContext): Promise<PlannedSelection> {
  const { round, log, config } = context;
  await log.enterStage('selecting', 'selecting pairs', { settings: listMethodSettings(round.method, config) });
  const unsettled = new Set<string>();
  while (true) {
    const selection = await selectOnce(context, unsettled);
    if (selection) return selection;
  }
}

/** Null if a selected preference is no longer what it was; `unsettled` then has whoever changed or retracted it, too. */
async function selectOnce(
  { trainer, round, log, config }: RoundContext,
  unsettled: Set<string>,
): Promise<PlannedSelection | null> {
  const selection = await planSelection(trainer, log.db, config, round, unsettled);
  const { referenceId, parent, baseline, counts, origins, usedPairs } = selection;
  const write = (work: (transaction: Database) => Promise<unknown>) => writeIfSettled(log, usedPairs, unsettled, work);
  const ids = { reference_id: referenceId, parent_id: parent.id, baseline_id: baseline.id };
  if (!(await write((transaction) => log.set(transaction, { ...ids, pairs: counts, origins })))) return null;
  validateSelection(selection, trainer.settings);
  const plan = await planRound(trainer, log.db, selection, config);
  log.timeLeft.plan(listParts({ ...selection, plan }, config.epochs));
  const leftOut = new Set([...selection.overShare.keys()].map(({ id }) => id));
  if (!(await write((transaction) => saveRoundPairs(transaction, round, usedPairs, leftOut)))) return null;
  if (round.from_root)
    await log.addEvent('message', `trains the root ${parent.id}, to replace the active policy ${baseline.id}`);
  await logSelection(log, counts, selection.takesAll ? 0 : trainer.settings.TRAIN_MIN_PAIRS);
  await logShares(log, selection, trainer.settings);
  return { ...selection, plan };
}

/** `round` has saved its pairs if it is resumed; a dry run has none that could be resumed. */
export async function planSelection(
  { settings, store }: TrainerContext,
  db: Database,
  config: RoundSettings,
  round: Pick<RoundRow, 'from_root' | 'method'> & Partial<RoundRow>,
  unsettled: ReadonlySet<string> = new Set(),
): Promise<Selection> {
  const { method, from_root: isFromRoot } = round;
  // A reward is trained on all pairs, and distilled on all prompts.
  const takesAll = isFromRoot || method === 'reward' || config.objective === 'distill';
  const saved = await findSavedPairs(db, round);
  const { baselineId, pairs: found, overLimit } = saved ?? (await findPairs(db, settings, config, takesAll));
  const usedPairs = omitUnsettled(found, unsettled);
  const baseline = await getPolicy(db, baselineId);
  const rootId = getRootId(baseline);
  const baselineFolder = await store.getFolder(baselineId);
  const { architecture, tokenizer_hash: tokenizerHash } = await readManifest(baselineFolder);
  // A reward has no reference, so its round does not need the root.
  const rootFolder =
    rootId === baselineId || method === 'reward' ? baselineFolder : await getRootFolder(store, rootId, baselineId);
  await validateRoot(rootFolder, rootId, baselineId, tokenizerHash);
  const parent = isFromRoot && rootId !== baselineId ? await getPolicy(db, rootId) : baseline;
  const parentFolder = parent === baseline ? baselineFolder : rootFolder;
  const referenceId = (saved && round.reference_id) ?? (config.reference === 'parent' ? parent.id : rootId);

  const ancestors = await findAncestors(db, baselineId, usedPairs);
  const tokenizer = await Tokenizer.open(parentFolder);
  const shares = { rater: settings.TRAIN_RATER_SHARE, source: settings.TRAIN_SOURCE_SHARE };
  const filtered = filterPairs(limitHeldOut(usedPairs), ancestors, tokenizer, architecture, config, shares);
  const { pairs, overShare } = filtered;
  const counts = countPairs(filtered, overLimit);
  const origins = findOrigins(filtered, usedPairs);
  const policies = { parent, baseline, parentFolder, referenceId, rootId };
  const selected = { usedPairs, overShare, pairs, counts, origins };
  return { method, isFromRoot, takesAll, ...policies, architecture, tokenizerHash, ...selected };
}

/** What a resumed round has saved; null if it was stopped before it had. */
async function findSavedPairs(db: Database, round: Partial<RoundRow>): Promise<FoundPairs | null> {
  const { id, baseline_id: baselineId, pairs: counts } = round;
  if (!id || !baselineId) return null;
  const pairs = await findRoundPairs(db, id, baselineId);
  return pairs.length > 0 ? { baselineId, pairs, overLimit: counts?.left_out.over_limit ?? 0 } : null;
}

/** The root trains no round but the first, so its package may have been removed. */
async function getRootFolder(store: LocalStore, rootId: string, baselineId: string): Promise<string> {
  try {
    return await store.getFolder(rootId);
  } catch (error) {
    if (!(error instanceof AttuneError && error.code === 'model_not_found')) throw error;
    throw new AttuneError(
      `${rootId}, the root of ${baselineId}, cannot be read (${error.message}); a round needs it: restore its package, or import ${baselineId} again, so that it is its own root`,
      { code: 'root_missing' },
    );
  }
}

/** Throws AttuneError if there is nothing to train on, or too little to evaluate. */
export function validateSelection({ counts, method, takesAll }: Selection, settings: Settings): void {
  const leftOut = Object.entries(counts.left_out).filter(([, count]) => count > 0);
  const note =
    leftOut.length > 0 ? ` (left out: ${leftOut.map(([reason, count]) => `${count} ${reason}`).join(', ')})` : '';
  const minPairs = method === 'reward' ? settings.TRAIN_MIN_PAIRS : 1;
  if (takesAll && counts.train < minPairs)
    throw new AttuneError(
      `there are ${counts.train} pairs to train on${note}${method === 'reward' ? `, and a reward, which no gate judges, needs TRAIN_MIN_PAIRS (${minPairs})` : ''}; collect more preferences`,
      { code: 'too_few_pairs' },
    );
  if (!takesAll && counts.new === 0)
    throw new AttuneError(`there are no new pairs to train on${note}; collect some preferences first`);
  // Checked before training, so that the pairs of a round that cannot be evaluated stay new.
  if (counts.held_out_prompts < MIN_CLUSTERS)
    throw new AttuneError(
      `${counts.held_out_prompts || 'none'} of the prompts ${counts.held_out_prompts === 1 ? 'is' : 'are'} held out (TRAIN_HELD_OUT is ${settings.TRAIN_HELD_OUT})${note}, and ${method === 'reward' ? `the interval of its accuracy needs ${MIN_CLUSTERS}` : `the gate needs ${MIN_CLUSTERS} to decide whether a policy is better`}; collect pairs on more prompts`,
      { code: 'too_few_prompts' },
    );
}

/** Under another tokenizer the same token ids are another text, so the root cannot score them. */
async function validateRoot(folder: string, rootId: string, baselineId: string, tokenizerHash: string): Promise<void> {
  const root = await readManifest(folder);
  if (root.tokenizer_hash !== tokenizerHash)
    throw new AttuneError(
      `the root ${rootId} has another tokenizer than ${baselineId}, the active policy; import that policy again, so that it is its own root`,
      { code: 'tokenizer_mismatch' },
    );
}

function findOrigins({ pairs, overShare }: FilteredPairs, usedPairs: RoundPair[]): PairOrigins {
  const isTrained = ({ split }: RoundPair) => split === 'train';
  const train = pairs.map(({ pair }) => pair).filter(isTrained);
  return describeOrigins(train, new Map([...overShare].filter(([pair]) => isTrained(pair))), usedPairs);
}

function countPairs({ pairs, left_out, quality }: FilteredPairs, overLimit: number): PairCounts {
  const train = pairs.filter(({ pair }) => pair.split === 'train');
  const heldOut = pairs.filter(({ pair }) => pair.split === 'held_out');
  const isLearned = ({ pair }: SelectedPair) => pair.learnedIn !== null;
  const replay = train.filter(isLearned).length;
  return {
    train: train.length,
    new: train.length - replay,
    replay,
    held_out: heldOut.length,
    held_out_prompts: new Set(heldOut.map(({ tokens }) => tokens.chosen.promptIds.join())).size,
    held_out_earlier: heldOut.filter(isLearned).length,
    left_out: { over_limit: overLimit, ...left_out },
    quality,
    cut: pairs.filter(({ tokens }) => tokens.isPromptTruncated || tokens.isResponseTruncated).length,
    ages: countByStaleness(pairs.map(({ staleness }) => staleness)),
    tokens: train.reduce(
      (sum, { tokens }) => sum + countInputTokens(tokens.chosen) + countInputTokens(tokens.rejected),
      0,
    ),
    digest: hashList(pairs.map(({ pair }) => pair.id).sort()),
  };
}
