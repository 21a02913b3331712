// One round from top to bottom (Direct Imitation Learning, arXiv 2503.05079, over the pairs at hand): select, score by
// the frozen reference, train from the parent, evaluate on held-out pairs, gate, export, check, publish, activate.
// Called again for a round whose trainer was stopped, it goes on with the same pairs from where that one was.

import { rm } from 'node:fs/promises';
import path from 'node:path';
import { eq } from 'drizzle-orm';
import { policies } from '../shared/database/schema.ts';
import { publishPolicy } from '../shared/publish/publish.ts';
import { completeRoundSettings, type RoundRequest } from '../shared/rounds/settings.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { recordPairs, type Selected } from './data/pairs.ts';
import type { Engine, TrainPair } from './engine/engine.ts';
import { evaluatePolicy } from './evaluation/evaluation.ts';
import { checkExport } from './evaluation/verify-export.ts';
import { readObjective } from './objectives.ts';
import { clearOthers } from './stages/checkpoint.ts';
import { type Course, describeObjective, openPolicy } from './stages/context.ts';
import { examine } from './stages/evaluate-candidate.ts';
import { weighPairs } from './stages/importance.ts';
import type { RoundRecord, RoundRow } from './stages/log.ts';
import { scoreReference } from './stages/score-reference.ts';
import { checkPlan, type Plan, planRound, type Workshop } from './stages/select-pairs.ts';
import { trainPolicy } from './training.ts';

/** Runs the round to its end. Throws AttuneError where it cannot be run; the caller marks it failed. */
export async function runRound(workshop: Workshop, row: RoundRow, record: RoundRecord): Promise<void> {
  const { settings } = workshop;
  const how = completeRoundSettings(row.settings as RoundRequest, settings);
  const { db } = record;
  readObjective(how);
  const [published] = await db.select().from(policies).where(eq(policies.round_id, row.id));
  if (published) return activate(record, published.id, published.parent_id, row.reason ?? 'published');

  await record.enter('selecting', 'choosing pairs', { settings: how });
  const plan = await planRound(workshop, db, how, row);
  await record.change({ reference_id: plan.referenceId, parent_id: plan.parent.id, pairs: plan.counts });
  checkPlan(plan, settings);
  await recordPairs(db, row.id, plan.taken);
  await tellSelection(record, plan, settings.TRAIN_MIN_PAIRS);

  const course: Course = { workshop, record, how, plan, objective: await describeObjective(how.objective) };
  const { train, heldOut } = await scorePairs(course);

  const folder = path.resolve(settings.ATTUNE_HOME, 'rounds', row.id);
  await clearOthers(folder);
  const engine = await openPolicy(course, plan.parent.id, 'to train');
  try {
    await record.enter('training', `training on ${train.length} pairs by ${engine.name}, ${heldOut.length} held out`);
    const before = await evaluatePolicy(engine, heldOut, how.seed);
    await record.measure(0, 'held_out', before.metrics, before.logps);
    const { steps } = await trainPolicy({ engine, train, heldOut, how, objective: course.objective, record, folder });

    await record.enter('evaluating', 'evaluating on held-out pairs and on samples of its own');
    const { metrics, verdict } = await examine(course, engine, heldOut, before, steps);
    if (!verdict.pass) await record.finish('succeeded', 'refused', { reason: verdict.reason });
    else {
      await record.enter('publishing', 'exporting, checking and publishing');
      const policyId = await publish(course, engine, heldOut, metrics);
      await activate(record, policyId, plan.parent.id, verdict.reason);
    }
    await rm(folder, { recursive: true, force: true });
  } finally {
    await engine.close();
  }
}

async function tellSelection(record: RoundRecord, { counts }: Plan, least: number): Promise<void> {
  const { left_out: leftOut, ages } = counts;
  await record.say('message', `${counts.train} pairs to train on, ${counts.held_out} held out`, { ages, ...leftOut });
  const lost = Object.entries(leftOut).filter(([, count]) => count > 0);
  if (lost.length > 0) {
    const reasons = { stale: 'sampled too long ago', identical: 'with two equal sides', empty: 'with an empty side' };
    const told = lost.map(([reason, count]) => `${count} ${reasons[reason as keyof typeof reasons]}`);
    await record.say('message', `left out: ${told.join(', ')}`, leftOut, 'warn');
  }
  if (counts.new < least)
    await record.say(
      'message',
      `${counts.new} new pairs are fewer than TRAIN_MIN_PAIRS (${least}), which a scheduled round would wait for`,
      {},
      'warn',
    );
}

/** The pairs with the reference's log-probabilities and, where asked for, their importance weights. */
async function scorePairs(course: Course): Promise<{ train: TrainPair[]; heldOut: TrainPair[] }> {
  const { record, plan, how } = course;
  await record.enter('scoring', `scoring ${plan.pairs.length} pairs by the reference ${plan.referenceId}`);
  let scored = await scoreReference(
    record.db,
    { id: plan.referenceId, tokenizerHash: plan.tokenizerHash, open: () => openPolicy(course, plan.referenceId) },
    plan.pairs.map(({ tokens }) => tokens),
    async (done, total) => record.progress('scoring', done, total, 'pairs'),
  );
  if (how.weighting === 'importance') {
    const { pairs, ...told } = weighPairs(how, plan.pairs, scored);
    scored = pairs;
    const unknown = told.negatives - told.known;
    await record.say(
      'message',
      `importance weights: ${told.known} negatives are worth ${told.effective.toFixed(1)} of the reference's own, ${told.capped} capped at ${how.weight_cap}, ${unknown} unknown and taken as 1`,
      told,
    );
  }
  const pick = (split: Selected['split']) => scored.filter((_, at) => plan.pairs[at]!.pair.split === split);
  return { train: pick('train'), heldOut: pick('held_out') };
}

async function publish(
  { workshop: { settings, shelf }, record, how, plan, objective }: Course,
  engine: Engine,
  heldOut: TrainPair[],
  metrics: Record<string, number>,
): Promise<string> {
  const samples = heldOut.slice(0, 2).map(({ chosen }) => [...chosen.promptIds, ...chosen.responseIds]);
  const { objective: _, ...settingsOfIt } = how;
  return publishPolicy({
    store: shelf,
    db: record.db,
    name: `${plan.parent.name.split(' ')[0]} ${objective.type}`,
    sourceFolder: plan.parentFolder,
    architecture: plan.architecture,
    weights: await engine.weights(),
    provenance: {
      parent: plan.parent.id,
      reference: plan.referenceId,
      objective: { ...objective, ...settingsOfIt },
      pairs: { count: plan.counts.train, digest: plan.counts.digest },
      metrics,
      source: `round ${record.roundId}`,
    },
    roundId: record.roundId,
    precision: settings.PRECISION,
    validate: (folder) => checkExport(folder, plan.architecture, engine, samples),
  });
}

/** Makes the policy the one that answers, unless another became active since the round began. */
async function activate(record: RoundRecord, policyId: string, parentId: string | null, why: string): Promise<void> {
  await record.enter('activating', `activating ${policyId}`, { policy_id: policyId });
  const active = await getActivePolicyId(record.db);
  if (active !== parentId && active !== policyId) {
    const reason = `another policy became active while it trained from ${parentId}; ${policyId} is published and not activated`;
    return record.finish('succeeded', 'published', { reason });
  }
  if (active !== policyId) await activatePolicy(record.db, policyId, `published by ${record.roundId}`);
  await record.finish('succeeded', 'active', { reason: why });
}
