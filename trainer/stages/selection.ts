// The policies and pairs of a round, which select-pairs.ts finds.
import type { PairCounts, PairOrigins, RoundMethod, ShareReason } from '../../shared/database/round-types.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { PolicyRow } from '../../shared/store/registry.ts';
import type { RoundPair } from '../data/round-pairs.ts';
import type { SelectedPair } from './filter-pairs.ts';

export type Selection = {
  /** Which the round trains. */
  parent: PolicyRow;
  /** The active policy, which the round's has to beat and replaces. */
  baseline: PolicyRow;
  method: RoundMethod;
  isFromRoot: boolean;
  /** Whether it uses everything that was learned, so that it has something to do without new pairs. */
  takesAll: boolean;
  parentFolder: string;
  /** The frozen policy that log-ratios are against: the root, or the parent (REFERENCE). */
  referenceId: string;
  /** The first policy of the line, from which the gate measures the drift. */
  rootId: string;
  architecture: Architecture;
  tokenizerHash: string;
  /** Every pair of this round, including those that it leaves out: if its policy becomes active, they are learned. */
  usedPairs: RoundPair[];
  /** Those of them over the share of a rater or a key, with the reason. */
  overShare: ReadonlyMap<RoundPair, ShareReason>;
  /** The pairs to train on and to evaluate. */
  pairs: SelectedPair[];
  counts: PairCounts;
  origins: PairOrigins;
};
