// `attune train --dry-run`: what a round would do with the pairs that exist now. Writes nothing.
import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import { isObjectiveModule } from '../../shared/hyperparameters.ts';
import { findObstacle, type RoundOptions } from '../../shared/rounds/schedule.ts';
import { completeRoundSettings, listMethodSettings, type RoundSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import { chooseMicroBatchTokens, estimateStages, resolveMemoryBudget } from '../engine/memory-estimate.ts';
import { countInputTokens, estimateAttentionCost, planShapes } from '../engine/packing.ts';
import { resolveEngine } from '../engine/select-device.ts';
import { parseObjective, parseRewardObjective } from '../objectives.ts';
import { describeGateOutlook } from './gate-outlook.ts';
import { describeLeftOut, describeQuality } from './messages.ts';
import { toLora } from './policy-engine.ts';
import type { TrainerContext } from './round-context.ts';
import { findScores } from './score-pairs.ts';
import { planSelection, type Selection, validateSelection } from './select-pairs.ts';

export type PreviewLine = { name: string; text: string };

/** Throws AttuneError only if no selection is possible: no active policy, or a reference with another tokenizer. */
export async function previewRound(
  trainer: TrainerContext,
  db: Database,
  { method = 'dil', fromRoot = false }: RoundOptions = {},
): Promise<PreviewLine[]> {
  const { settings } = trainer;
  const config = completeRoundSettings({}, settings);
  const selection = await planSelection(trainer, db, config, { method, from_root: fromRoot });
  const { referenceId, tokenizerHash, architecture, pairs, counts } = selection;
  const tokens = pairs.map((pair) => pair.tokens);
  const { scores } = await findScores(db, { id: referenceId, tokenizerHash }, tokens);
  const steps = Math.ceil(counts.train / config.batch_pairs) * config.epochs;
  const maxLength = Math.min(architecture.contextLength, config.max_length ?? Infinity);
  const engine = await resolveEngine(settings.ENGINE, settings.TRAIN_PROVIDER);
  const lines: Record<string, string> = {
    parent: describeParent(selection),
    ...(method === 'dil' && {
      reference: `${referenceId}; ${scores.size} of ${pairs.length} pairs are scored already`,
    }),
    pairs: `${counts.new} new, ${counts.replay} replayed, ${counts.held_out} held out on ${counts.held_out_prompts} prompts, ${counts.held_out_earlier} of them of earlier rounds`,
    'left out': describeLeftOut(counts.left_out),
    quality: describeQuality(counts.quality),
    truncated: `${counts.cut} pairs longer than ${maxLength} tokens`,
    staleness: describeStaleness(counts.ages),
    work: `${counts.tokens} tokens per epoch; ${steps} steps of ${config.batch_pairs} pairs in ${config.epochs} epochs`,
    settings: Object.entries(listMethodSettings(method, config))
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
    engine: `${engine.name}; ${engine.reason}`,
    memory: describeMemory(selection, settings, config),
    ...(method === 'dil' && { gate: await describeGateOutlook(db, counts) }),
    decision: await describeDecision(db, selection, settings, config),
  };
  return Object.entries(lines).map(([name, text]) => ({ name, text }));
}

/** "training 4.1 GiB of 10.2 GiB (scoring 1.1, evaluating 2.4, publishing 2.2); micro-batches of 1024 tokens" */
function describeMemory({ architecture, pairs }: Selection, settings: Settings, config: RoundSettings): string {
  const options = { architecture, lora: toLora(config), engine: settings.ENGINE };
  const budget = resolveMemoryBudget(settings.TRAIN_MEMORY);
  const items = pairs.map(({ tokens: { chosen, rejected } }) => [chosen, rejected]);
  const longest = Math.max(0, ...items.flat().map(countInputTokens));
  const inGiB = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
  try {
    const tokens = chooseMicroBatchTokens({ ...options, maxSequenceTokens: longest }, budget);
    const shapes = planShapes(items, tokens, estimateAttentionCost(architecture));
    const { training, ...others } = estimateStages(options, shapes, longest);
    const parts = Object.entries(others).map(([stage, bytes]) => `${stage} ${inGiB(bytes)}`);
    return `training ${inGiB(training)} GiB of ${inGiB(budget)} GiB (${parts.join(', ')}); micro-batches of ${tokens} tokens`;
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    return `it would fail: ${error.message}`;
  }
}

function describeParent({ parent, baseline, isFromRoot }: Selection): string {
  const name = `${parent.id} (${parent.name})`;
  if (!isFromRoot) return name;
  return baseline.id === parent.id
    ? `${name}, the root, which is active`
    : `${name}, the root, to replace the active ${baseline.id}`;
}

/** "0: 120, 1: 34, unknown: 6" */
function describeStaleness(counts: Record<string, number>): string {
  const items = Object.entries(counts).map(([staleness, count]) => `${staleness}: ${count}`);
  return `${items.join(', ') || 'none'} (policies since the one that sampled the pair: pairs)`;
}

async function describeDecision(
  db: Database,
  selection: Selection,
  settings: Settings,
  config: RoundSettings,
): Promise<string> {
  try {
    validateSelection(selection, settings);
    if (selection.method === 'reward') {
      parseRewardObjective(config);
      return 'it would run';
    }
    const objective = parseObjective(config);
    if (isObjectiveModule(objective.objective))
      await (await import('../engine/validate-objective.ts')).validateObjective(objective);
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    return `it would fail: ${error.message}`;
  }
  if (selection.isFromRoot) return 'it would run';
  const obstacle = await findObstacle(db, settings);
  return obstacle ? `\`attune train\` would run it; the schedule waits: ${obstacle}` : 'it would run';
}
