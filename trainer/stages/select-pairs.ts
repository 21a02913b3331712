// Stage 1: the parent policy, the reference and the pairs of a round. A resumed round keeps the ones it has saved.
// planSelection writes nothing, so that `attune train --dry-run` can call it.

import type { Database } from '../../shared/database/connect.ts';
import type { PairCounts } from '../../shared/database/round-types.ts';
import { hashList } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import { getPolicy, type PolicyRow } from '../../shared/store/registry.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { findPairs, findRoundPairs, type RoundPair, saveRoundPairs } from '../data/round-pairs.ts';
import { countByStaleness, findAncestors } from '../data/staleness.ts';
import { countInputTokens } from '../engine/packing.ts';
import { MIN_CLUSTERS } from '../evaluation/confidence-interval.ts';
import { type FilteredPairs, filterPairs, type SelectedPair } from './filter-pairs.ts';
import { logSelection } from './messages.ts';
import type { RoundContext, TrainerContext } from './round-context.ts';

export type Selection = {
  parent: PolicyRow;
  parentFolder: string;
  /** The frozen policy that log-ratios are against: the root, or the parent (REFERENCE). */
  referenceId: string;
  /** The first policy of the parent's line, from which the gate measures the drift. */
  rootId: string;
  architecture: Architecture;
  tokenizerHash: string;
  /** Every pair of this round, including those that it leaves out: if its policy becomes active, they are learned. */
  usedPairs: RoundPair[];
  /** The pairs to train on and to evaluate. */
  pairs: SelectedPair[];
  counts: PairCounts;
};

export async function selectPairs({ trainer, round, log, config }: RoundContext): Promise<Selection> {
  await log.enterStage('selecting', 'selecting pairs', { settings: config });
  const selection = await planSelection(trainer, log.db, config, round);
  const { referenceId, parent, counts } = selection;
  await log.update({ reference_id: referenceId, parent_id: parent.id, pairs: counts });
  validateSelection(selection, trainer.settings);
  await log.write((transaction) => saveRoundPairs(transaction, round.id, selection.usedPairs));
  await logSelection(log, counts, trainer.settings.TRAIN_MIN_PAIRS);
  return selection;
}

/** `round` has saved its pairs if it is resumed; null for a dry run. */
export async function planSelection(
  { settings, store }: TrainerContext,
  db: Database,
  config: RoundSettings,
  round: RoundRow | null,
): Promise<Selection> {
  const savedPairs = round?.parent_id ? await findRoundPairs(db, round.id, round.parent_id) : [];
  const resumed = savedPairs.length > 0 ? round : null;
  const {
    parentId,
    pairs: usedPairs,
    overLimit,
  } = resumed
    ? { parentId: resumed.parent_id!, pairs: savedPairs, overLimit: resumed.pairs?.left_out.over_limit ?? 0 }
    : await findPairs(db, settings, config);
  const parent = await getPolicy(db, parentId);
  const rootId = parent.reference_id ?? parent.id;
  const referenceId = resumed?.reference_id ?? (config.reference === 'parent' ? parent.id : rootId);
  const parentFolder = await store.getFolder(parentId);
  const { architecture, tokenizer_hash: tokenizerHash } = await readManifest(parentFolder);
  if (rootId !== parentId) await validateReference(await store.getFolder(rootId), rootId, parentId, tokenizerHash);

  const ancestors = await findAncestors(db, parentId, usedPairs);
  const tokenizer = await Tokenizer.open(parentFolder);
  const filtered = filterPairs(usedPairs, ancestors, tokenizer, architecture, config);
  const { pairs } = filtered;
  const counts = countPairs(filtered, overLimit);
  return { parent, parentFolder, referenceId, rootId, architecture, tokenizerHash, usedPairs, pairs, counts };
}

/** Throws AttuneError if there is nothing to train on, or too little to evaluate. */
export function validateSelection({ counts }: Selection, settings: Settings): void {
  const leftOut = Object.entries(counts.left_out).filter(([, count]) => count > 0);
  const note =
    leftOut.length > 0 ? ` (left out: ${leftOut.map(([reason, count]) => `${count} ${reason}`).join(', ')})` : '';
  if (counts.new === 0)
    throw new AttuneError(`there are no new pairs to train on${note}; collect some preferences first`);
  // Checked before training, so that the pairs of a round that cannot be evaluated stay new.
  if (counts.held_out_prompts < MIN_CLUSTERS)
    throw new AttuneError(
      `${counts.held_out_prompts || 'none'} of the prompts ${counts.held_out_prompts === 1 ? 'is' : 'are'} held out (TRAIN_HELD_OUT is ${settings.TRAIN_HELD_OUT})${note}, and the gate needs ${MIN_CLUSTERS} to decide whether a policy is better; collect pairs on more prompts`,
    );
}

/** Under another tokenizer the same token ids are another text, so the reference cannot score them. */
async function validateReference(
  folder: string,
  referenceId: string,
  parentId: string,
  tokenizerHash: string,
): Promise<void> {
  const reference = await readManifest(folder);
  if (reference.tokenizer_hash !== tokenizerHash)
    throw new AttuneError(
      `the reference ${referenceId} has another tokenizer than ${parentId}, which the round starts from; import the policy again, so that it is its own reference`,
      { code: 'tokenizer_mismatch' },
    );
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
