// What a round would do with the pairs at hand, told without doing any of it.
import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import { completeRoundSettings, type RoundSettings } from '../../shared/rounds/settings.ts';
import { isModule } from '../divergence.ts';
import { chooseMicroBatchTokens, estimateParameters, resolveMemoryBudget } from '../engine/memory-estimate.ts';
import { resolveEngine } from '../engine/select-device.ts';
import { readObjective } from '../objectives.ts';
import { toLora } from './context.ts';
import { findScores } from './score-reference.ts';
import { checkPlan, type Plan, planRound, type Workshop } from './select-pairs.ts';

export type PreviewLine = { name: string; told: string };

/** Throws only where there is nothing to tell of: no policy, a reference that does not fit. */
export async function previewRound(workshop: Workshop, db: Database): Promise<PreviewLine[]> {
  const { settings } = workshop;
  const how = completeRoundSettings({}, settings);
  const plan = await planRound(workshop, db, how, null);
  const { counts } = plan;
  const steps = Math.ceil(counts.train / how.batch_pairs) * how.epochs;
  const { known } = await findScores(
    db,
    { id: plan.referenceId, tokenizerHash: plan.tokenizerHash },
    plan.pairs.map(({ tokens }) => tokens),
  );
  const engine = await resolveEngine(settings.ENGINE, settings.TRAIN_PROVIDER);
  const lines: Record<string, string> = {
    parent: `${plan.parent.id} (${plan.parent.name})`,
    reference: `${plan.referenceId}; it has scored ${known.size} of ${plan.pairs.length} pairs already`,
    pairs: `${counts.new} new, ${counts.replay} replayed, ${counts.held_out} held out on ${counts.held_out_prompts} prompts`,
    'left out': tellLeftOut(plan),
    cut: `${counts.cut} pairs are longer than ${lengthLimit(plan, how)} tokens`,
    ages: tellAges(counts.ages),
    work: `${counts.tokens} tokens an epoch; ${steps} steps of ${how.batch_pairs} pairs in ${how.epochs} epochs`,
    settings: Object.entries(how)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
    engine: `${engine.name}; ${engine.reason}`,
    memory: tellMemory(plan, workshop, how),
    verdict: await tellVerdict(plan, workshop, how),
  };
  return Object.entries(lines).map(([name, told]) => ({ name, told }));
}

function lengthLimit({ architecture }: Plan, how: RoundSettings): number {
  return Math.min(architecture.contextLength, how.max_length ?? Infinity);
}

function tellLeftOut({ counts }: Plan): string {
  const { stale, identical, empty } = counts.left_out;
  return `${stale} sampled too long ago, ${identical} with two equal sides, ${empty} with an empty side`;
}

function tellMemory({ architecture }: Plan, { settings }: Workshop, how: RoundSettings): string {
  const options = { architecture, lora: toLora(how) };
  const memory = resolveMemoryBudget(settings.TRAIN_MEMORY);
  const inGiB = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  const told = `${inGiB(estimateParameters(options))} for the policy and its optimizer`;
  try {
    return `${told}; ${inGiB(memory)} may be taken, so ${chooseMicroBatchTokens(options, memory)} tokens are computed at once`;
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    return `${told}; it would be refused: ${error.message}`;
  }
}

/** "0: 120, 1: 34, unknown: 6" */
function tellAges(ages: Record<string, number>): string {
  const told = Object.entries(ages).map(([age, count]) => `${age}: ${count}`);
  return `${told.join(', ') || 'none'} (policies since the one that sampled them)`;
}

async function tellVerdict(plan: Plan, { settings }: Workshop, how: RoundSettings): Promise<string> {
  try {
    checkPlan(plan, settings);
    const objective = readObjective(how);
    if (isModule(objective.objective))
      await (await import('../engine/validate-objective.ts')).validateObjective(objective);
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    return `it would fail: ${error.message}`;
  }
  const { new: fresh } = plan.counts;
  return fresh < settings.TRAIN_MIN_PAIRS
    ? `\`attune train\` would run it; the schedule waits for TRAIN_MIN_PAIRS (${settings.TRAIN_MIN_PAIRS})`
    : 'it would run';
}
