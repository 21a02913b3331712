// A comparison as it is handed on: the prompt, both sides with their policies, tokens and log-probabilities, and every vote.

import type { Prompt } from '../chat-message.ts';
import type { Choice, QueueItemKind, ReservationPurpose, Strength } from '../database/schema.ts';
import type { Trust } from '../preferences/trust.ts';

export type SideRecord = {
  generation: string;
  /** the policy that generated it, or `given` */
  policy: string;
  text: string;
  finish_reason: string;
  /** with its log-probabilities under the policy at temperature 1; all empty if the text was redacted or given */
  token_ids: number[];
  logps: number[];
  stop_token: number | null;
  prompt_token_ids: number[];
  sampling: Record<string, unknown>;
  seed: number;
};

export type VoteRecord = {
  /** of the preference; of the reservation, if the vote measures its rater */
  id: string;
  created: number;
  choice: Choice;
  strength: Strength | null;
  tags: string[];
  comment: string | null;
  seconds: number | null;
  rater: string;
  trust: Trust;
  /** the chosen side, as its rater improved it */
  edit: string | null;
  metadata: Record<string, unknown> | null;
  redacted: boolean;
  reservation: ReservationRecord | null;
};

export type ReservationRecord = {
  id: string;
  purpose: ReservationPurpose;
  /** whether side a was shown as b */
  swapped: boolean;
  /** with which the item was selected */
  probability: number;
  guidelines_version: number;
};

export type ComparisonRecord = {
  id: string;
  created: number;
  prompt: Prompt;
  a: SideRecord;
  b: SideRecord;
  swapped: boolean;
  queue: string | null;
  item: { id: string; kind: QueueItemKind; group: string; expected: Choice | null } | null;
  votes: VoteRecord[];
  metadata: Record<string, string> | null;
  redacted: boolean;
};
