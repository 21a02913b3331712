// What a round is about to do: from which policy, against which reference, on which pairs. Nothing is written here, so
// that `attune train --dry-run` can ask too.
import type { Database } from '../../shared/database/connect.ts';
import { hashList } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import type { LocalStore } from '../../shared/store/local-store.ts';
import { getActivePolicyId, getPolicy, type PolicyRow } from '../../shared/store/registry.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { pairsOfRound, type Selected, selectPairs } from '../data/pairs.ts';
import { ageOf, countAges, findForebears } from '../data/staleness.ts';
import { type TokenPair, tokenizePair } from '../data/tokens.ts';
import { countInputTokens } from '../engine/packing.ts';
import { FEWEST_CLUSTERS } from '../evaluation/confidence-interval.ts';
import type { RoundRow } from './log.ts';

export type Workshop = { settings: Settings; shelf: LocalStore };

export type PlannedPair = { pair: Selected; tokens: TokenPair; age: number | null };

export type Plan = {
  parent: PolicyRow;
  parentFolder: string;
  referenceId: string;
  architecture: Architecture;
  tokenizerHash: string;
  /** All that the round uses up, with those that it leaves out: they are not new any more. */
  taken: Selected[];
  pairs: PlannedPair[];
  counts: PairCounts;
};

export type PairCounts = {
  train: number;
  new: number;
  replay: number;
  held_out: number;
  held_out_prompts: number;
  left_out: { stale: number; identical: number; empty: number };
  /** Pairs with a prompt or a response that had to be cut. */
  cut: number;
  /** How many pairs were sampled how many policies ago; `unknown` for those that no policy of this line sampled. */
  ages: Record<string, number>;
  /** In one epoch over the training pairs. */
  tokens: number;
  digest: string;
};

/** `row` is of a round that is under way already: it goes on with its own pairs, parent and reference. */
export async function planRound(
  { settings, shelf }: Workshop,
  db: Database,
  how: RoundSettings,
  row: RoundRow | null,
): Promise<Plan> {
  const parentId = row?.parent_id ?? (await getActivePolicyId(db));
  if (!parentId) throw new AttuneError('there is no active policy to start from');
  const parent = await getPolicy(db, parentId);
  const referenceId = row?.reference_id ?? parent.reference_id ?? parent.id;
  const parentFolder = await shelf.folderOf(parentId);
  const { architecture, tokenizer_hash: tokenizerHash } = await readManifest(parentFolder);
  await checkReference(shelf, referenceId, parentId, tokenizerHash);

  const earlier = row ? await pairsOfRound(db, row.id) : [];
  const taken = earlier.length > 0 ? earlier : await selectPairs(db, settings, how.effort);
  const forebears = await findForebears(db, parentId);
  const tokenizer = await Tokenizer.open(parentFolder);
  const pairs: PlannedPair[] = [];
  const leftOut = { stale: 0, identical: 0, empty: 0 };
  for (const pair of taken) {
    const age = ageOf(pair, forebears);
    const isStale = how.max_staleness !== null && age !== null && age > how.max_staleness;
    const tokens = isStale ? 'stale' : tokenizePair(pair, tokenizer, architecture, how);
    if (typeof tokens === 'string') leftOut[tokens]++;
    else pairs.push({ pair, tokens, age });
  }
  return {
    parent,
    parentFolder,
    referenceId,
    architecture,
    tokenizerHash,
    taken,
    pairs,
    counts: countPairs(pairs, leftOut),
  };
}

/** Throws where there is nothing to learn from or nothing to tell whether it helped. */
export function checkPlan({ counts }: Plan, settings: Settings): void {
  const { left_out: leftOut } = counts;
  const lost = Object.entries(leftOut).flatMap(([reason, count]) => (count > 0 ? [`${count} ${reason}`] : []));
  const told = lost.length > 0 ? ` (left out: ${lost.join(', ')})` : '';
  if (counts.new === 0)
    throw new AttuneError(`there are no new pairs to train on${told}; collect some preferences first`);
  // Before the training, not after it: the pairs stay new.
  if (counts.held_out_prompts < FEWEST_CLUSTERS)
    throw new AttuneError(
      `${counts.held_out_prompts || 'none'} of the prompts ${counts.held_out_prompts === 1 ? 'is' : 'are'} held out (TRAIN_HELD_OUT is ${settings.TRAIN_HELD_OUT})${told}, and the gate needs ${FEWEST_CLUSTERS} to tell whether a policy is better; collect pairs on more prompts`,
    );
}

/** The reference's log-probabilities are of its own tokens: with another vocabulary they would be of another text. */
async function checkReference(shelf: LocalStore, referenceId: string, parentId: string, hash: string): Promise<void> {
  if (referenceId === parentId) return;
  const reference = await readManifest(await shelf.folderOf(referenceId));
  if (reference.tokenizer_hash !== hash)
    throw new AttuneError(
      `the reference ${referenceId} has another tokenizer than ${parentId}, which the round starts from; import the policy anew, so that it is its own reference`,
      { code: 'tokenizer_mismatch' },
    );
}

function countPairs(pairs: PlannedPair[], leftOut: PairCounts['left_out']): PairCounts {
  const count = (test: (item: PlannedPair) => boolean) => pairs.filter(test).length;
  const train = pairs.filter(({ pair }) => pair.split === 'train');
  return {
    train: train.length,
    new: count(({ pair }) => pair.split === 'train' && !pair.replay),
    replay: count(({ pair }) => pair.split === 'train' && pair.replay),
    held_out: count(({ pair }) => pair.split === 'held_out'),
    held_out_prompts: new Set(
      pairs.filter(({ pair }) => pair.split === 'held_out').map(({ tokens }) => tokens.chosen.promptIds.join()),
    ).size,
    left_out: leftOut,
    cut: count(({ tokens }) => tokens.promptIsCut || tokens.responseIsCut),
    ages: countAges(pairs.map(({ age }) => age)),
    tokens: train.reduce(
      (sum, { tokens }) => sum + countInputTokens(tokens.chosen) + countInputTokens(tokens.rejected),
      0,
    ),
    digest: hashList(pairs.map(({ pair }) => pair.id).sort()),
  };
}
