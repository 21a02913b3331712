// Which of a request's settings are looser than the trainer's own: those by which a worse policy would pass the gate, a policy
// moves farther from its reference, or pairs are used that the operator leaves out. Changing them takes the scope `operate`.

import type { RoundMethod } from '../database/round-types.ts';
import type { Hyperparameters } from '../hyperparameters.ts';
import type { Settings } from '../settings.ts';
import { completeRoundSettings, listMethodSettings, type RoundRequest } from './settings.ts';

export type Loosened = { name: keyof Hyperparameters; requested: unknown; configured: unknown };

type IsLooser = (requested: unknown, configured: unknown) => boolean;

/** null: no limit. */
const toNumber = (value: unknown) => (value === null ? Infinity : Number(value));
const larger: IsLooser = (requested, configured) => toNumber(requested) > toNumber(configured);
const smaller: IsLooser = (requested, configured) => toNumber(requested) < toNumber(configured);
const different: IsLooser = (requested, configured) => requested !== configured;

const CONTRADICTIONS: unknown[] = ['drop', 'weigh', 'keep'] satisfies Hyperparameters['contradictions'][];
const laxer: IsLooser = (requested, configured) =>
  CONTRADICTIONS.indexOf(requested) > CONTRADICTIONS.indexOf(configured);

const LOOSER: Partial<Record<keyof Hyperparameters, IsLooser>> = {
  gate_kl: larger,
  gate_chosen_drop: larger,
  gate_length: larger,
  gate_repetition: larger,
  // What the margin of the gate is measured by, and what is learned from a pair.
  objective: different,
  reduction: different,
  negatives: different,
  reference: different,
  weighting: different,
  reward: different,
  reward_loss: different,
  beta: smaller,
  learning_rate: larger,
  reward_learning_rate: larger,
  epochs: larger,
  effort: larger,
  // How far a step goes.
  lr_schedule: different,
  warm_up: smaller,
  weight_decay: smaller,
  max_grad_norm: larger,
  batch_pairs: smaller,
  early_stopping: different,
  lora_rank: different,
  lora_alpha: larger,
  // The gate reads no more of a response than the training does.
  max_length: smaller,
  max_prompt_length: smaller,
  max_staleness: larger,
  max_similarity: larger,
  contradictions: laxer,
  min_agreement: smaller,
};

/** Those that a request sets itself come first; others follow from them (preset, effort, reduction). */
export function findLoosened(method: RoundMethod, request: RoundRequest, settings: Settings): Loosened[] {
  const requested = listMethodSettings(method, completeRoundSettings(request, settings));
  const configured = listMethodSettings(method, completeRoundSettings({}, settings));
  const names = Object.keys(LOOSER) as (keyof Hyperparameters)[];
  return names
    .filter((name) => name in requested && LOOSER[name]!(requested[name], configured[name]))
    .map((name) => ({ name, requested: requested[name], configured: configured[name] }))
    .sort((a, b) => Number(b.name in request) - Number(a.name in request));
}
