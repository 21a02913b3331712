// What a round would do with the pairs that exist now: for `attune train --dry-run`, which writes nothing, and for a round that
// is a dry run, which ends with it.
import type { Database } from '../../shared/database/connect.ts';
import type { PairOrigins, PreviewLine } from '../../shared/database/round-types.ts';
import { AttuneError } from '../../shared/error.ts';
import { formatSeconds } from '../../shared/format-seconds.ts';
import { isObjectiveModule } from '../../shared/hyperparameters.ts';
import { findObstacle, type RoundOptions, type RoundRow } from '../../shared/rounds/schedule.ts';
import {
  completeRoundSettings,
  listMethodSettings,
  parseRoundRequest,
  type RoundRequest,
  type RoundSettings,
} from '../../shared/rounds/settings.ts';
import type { TokenizedPair } from '../data/tokens.ts';
import { resolveEngine } from '../engine/select-device.ts';
import { parseObjective, parseRewardObjective } from '../objectives.ts';
import { describeGateOutlook } from './gate-outlook.ts';
import { InterruptedError, type RoundLog } from './log.ts';
import { describeLeftOut, describeQuality, describeShares } from './messages.ts';
import type { RoundContext, TrainerContext } from './round-context.ts';
import { planRound, type RoundPlan } from './round-plan.ts';
import { findScores } from './score-pairs.ts';
import { planSelection, validateSelection } from './select-pairs.ts';
import type { Selection } from './selection.ts';
import { estimateTime } from './time-estimate.ts';

/** Throws AttuneError only if no selection is possible: no active policy, or a reference with another tokenizer. */
export async function previewRound(
  trainer: TrainerContext,
  db: Database,
  { method = 'dil', fromRoot = false, request = {} }: RoundOptions & { request?: RoundRequest } = {},
  onProgress: (message: string) => void = () => {},
): Promise<PreviewLine[]> {
  const { settings } = trainer;
  const config = completeRoundSettings(request, settings);
  const selection = await planSelection(trainer, db, config, { method, from_root: fromRoot });
  const { referenceId, tokenizerHash, architecture, pairs, counts, origins } = selection;
  const isDistilled = method === 'dil' && config.objective === 'distill';
  // What raters preferred is not trained on by a distillation.
  const scored = isDistilled ? pairs.filter(({ pair }) => pair.split === 'held_out') : pairs;
  const tokens = scored.map((pair) => pair.tokens);
  const { fingerprints, scores } = await findScores(db, { id: referenceId, tokenizerHash }, tokens);
  const missing = tokens.filter((_, at) => !scores.has(fingerprints[at]!));
  const steps = Math.ceil(counts.train / config.batch_pairs) * config.epochs;
  const maxLength = Math.min(architecture.contextLength, config.max_length ?? Infinity);
  const engine = await resolveEngine(settings.ENGINE, settings.TRAIN_PROVIDER);
  const plan = await catchRefusal(async () => {
    validateSelection(selection, settings);
    return planRound(trainer, db, selection, config);
  });
  const lines: Record<string, string> = {
    parent: describeParent(selection),
    ...(method === 'dil' && {
      reference: `${referenceId}; ${scores.size} of ${scored.length} pairs are scored already`,
    }),
    pairs: `${counts.new} new, ${counts.replay} replayed, ${counts.held_out} held out on ${counts.held_out_prompts} prompts, ${counts.held_out_earlier} of them of earlier rounds`,
    'left out': describeLeftOut(counts.left_out),
    origins: [describeOrigins(origins), ...describeShares(origins, settings)].join('; '),
    quality: describeQuality(counts.quality),
    truncated: `${counts.cut} pairs longer than ${maxLength} tokens`,
    staleness: describeStaleness(counts.ages),
    work: `${counts.tokens} tokens per epoch; ${steps} steps of ${config.batch_pairs} pairs in ${config.epochs} ${config.epochs === 1 ? 'epoch' : 'epochs'}`,
    settings: Object.entries(listMethodSettings(method, config))
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
    engine: `${engine.name}; ${engine.reason}`,
    ...(await describeCosts({ trainer, config }, selection, plan, missing, onProgress)),
    ...(method === 'dil' && { gate: await describeGateOutlook(db, counts) }),
    decision: await describeDecision(trainer, db, selection, config, plan),
  };
  return Object.entries(lines).map(([name, text]) => ({ name, text }));
}

/** Runs a round that is a dry run to its end. Throws AttuneError if not even a selection is possible. */
export async function runDryRun(trainer: TrainerContext, round: RoundRow, log: RoundLog): Promise<void> {
  await log.enterStage('selecting', 'a dry run: selecting pairs');
  const { method, from_root: fromRoot } = round;
  const options = { method, fromRoot, request: parseRoundRequest(round) };
  const preview = await previewRound(trainer, log.db, options, (message) =>
    log.reportProgress('selecting', 0, 0, message),
  );
  await log.write(async (transaction) => {
    await log.set(transaction, { preview });
    await log.end(transaction, 'previewed', preview.at(-1)!.text);
  });
}

/** What the round would fail with, if it would. */
type Refusal = { refusal: string };

async function catchRefusal<Result>(work: () => Promise<Result>): Promise<Result | Refusal> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AttuneError) || error instanceof InterruptedError) throw error;
    return { refusal: `it would fail: ${error.message}` };
  }
}

const isRefusal = (result: object): result is Refusal => 'refusal' in result;

/** Runs the policy for a moment, if it fits. */
async function describeCosts(
  context: Pick<RoundContext, 'trainer' | 'config'>,
  selection: Selection,
  plan: RoundPlan | Refusal,
  missing: TokenizedPair[],
  onProgress: (message: string) => void,
): Promise<{ memory: string; time: string }> {
  if (isRefusal(plan)) return { memory: 'not planned', time: 'not measured' };
  const report = () => onProgress('measuring how fast this machine trains, evaluates and samples …');
  const time = await catchRefusal(() => estimateTime(context, { ...selection, plan }, missing, report));
  return { memory: describeMemory(plan), time: isRefusal(time) ? time.refusal : describeTime(time) };
}

/** "training 4.10 GiB (scoring 1.12, …) of 10.20 GiB; micro-batches of 1024 tokens" */
function describeMemory(plan: RoundPlan): string {
  const inGiB = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
  const stages = Object.entries(plan.memory).map(([stage, bytes]) => `${stage} ${inGiB(bytes)}`);
  return `${stages.join(', ')} of ${inGiB(plan.memoryBytes)} GiB; micro-batches of ${plan.microBatchTokens} tokens`;
}

/** "about 9 min 40 s: scoring 1 min 20 s, …, as measured here now" */
function describeTime(estimate: Record<string, number>): string {
  const total = Object.values(estimate).reduce((sum, seconds) => sum + seconds, 0);
  const stages = Object.entries(estimate).map(([stage, seconds]) => `${stage} ${formatSeconds(seconds)}`);
  return `about ${formatSeconds(total)}: ${stages.join(', ')}; as fast as this machine was just now`;
}

/** "7 raters, user:ann has the most pairs (40 of 200); by source: comparison 150, raw 50" */
function describeOrigins({ raters: [first], rater_count, sources }: PairOrigins): string {
  const total = Object.values(sources).reduce((sum, count) => sum + count, 0);
  const most = first ? `, ${first.rater} has the most pairs (${first.pairs} of ${total})` : '';
  const bySource = Object.entries(sources).map(([source, count]) => `${source} ${count}`);
  return `${rater_count} raters${most}; by source: ${bySource.join(', ') || 'none'}`;
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
  trainer: TrainerContext,
  db: Database,
  selection: Selection,
  config: RoundSettings,
  plan: RoundPlan | Refusal,
): Promise<string> {
  if (isRefusal(plan)) return plan.refusal;
  const objective = await catchRefusal(async () => {
    if (selection.method === 'reward') return parseRewardObjective(config);
    const parsed = parseObjective(config);
    if (isObjectiveModule(parsed.objective))
      await (await import('../engine/validate-objective.ts')).validateObjective(parsed);
    return parsed;
  });
  if (isRefusal(objective)) return objective.refusal;
  if (selection.method === 'reward' || selection.isFromRoot) return 'it would run';
  const obstacle = await findObstacle(db, trainer.settings);
  return obstacle ? `\`attune train\` would run it; the schedule waits: ${obstacle}` : 'it would run';
}
