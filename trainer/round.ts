// One round from top to bottom (Direct Imitation Learning, arXiv 2503.05079, over the pairs at hand): select, score by
// the frozen reference, train from the parent, evaluate on held-out pairs, gate, export, check, publish, activate.

import { AttuneError } from '../shared/error.ts';
import { readCheckpoint } from '../shared/policy/checkpoint.ts';
import { digestList } from '../shared/policy/digest.ts';
import { readManifest } from '../shared/policy/manifest.ts';
import { publishPolicy } from '../shared/policy/publish.ts';
import { activatePolicy, activePolicyId, findPolicy } from '../shared/policy/registry.ts';
import type { PolicyStore } from '../shared/policy/store.ts';
import { Tokenizer } from '../shared/policy/tokenizer.ts';
import { completeRoundSettings, type RoundRequest, type RoundSettings } from '../shared/round.ts';
import type { Settings } from '../shared/settings.ts';
import { recordPairs, type Selected, selectPairs } from './data/pairs.ts';
import { type TokenPair, tokenizePair } from './data/tokens.ts';
import type { Engine, TrainPair } from './engine/engine.ts';
import { openOnnxEngine } from './engine/onnx-engine.ts';
import { evaluatePolicy } from './evaluation.ts';
import { checkExport } from './export-check.ts';
import { judge } from './gate.ts';
import type { RoundRecord, RoundRow } from './record.ts';
import { scoreReference } from './reference.ts';
import { learningRateAt, shuffle } from './schedule.ts';

export type Workshop = { settings: Settings; store: PolicyStore };

/** Runs the round to its end. Throws AttuneError where it cannot be run; the caller marks it failed. */
export async function runRound({ settings, store }: Workshop, row: RoundRow, record: RoundRecord): Promise<void> {
  const { db } = record;
  const how = completeRoundSettings(row.settings as RoundRequest, settings);

  await record.enter('selecting', 'choosing pairs', { settings: how });
  const parentId = await activePolicyId(db);
  if (!parentId) throw new AttuneError('there is no active policy to start from');
  const parent = await findPolicy(db, parentId);
  const referenceId = parent.reference_id ?? parent.id;
  const parentFolder = await store.folderOf(parentId);
  const tokenizer = await Tokenizer.open(parentFolder);
  const { architecture, tokenizer_hash: tokenizerHash } = await readManifest(parentFolder);
  const selected: { pair: Selected; tokens: TokenPair }[] = [];
  const chosen = await selectPairs(db, settings);
  let tooLong = 0;
  for (const pair of chosen) {
    const tokens = tokenizePair(pair, tokenizer, architecture);
    if (tokens) selected.push({ pair, tokens });
    else tooLong++;
  }
  if (tooLong > 0)
    await record.say('message', `${tooLong} pairs have a prompt that fills the context; left out`, {}, 'warn');
  const counts = countPairs(selected.map(({ pair }) => pair));
  const digest = digestList(selected.map(({ pair }) => pair.id).sort());
  await record.change({ reference_id: referenceId, parent_id: parentId, pairs: { ...counts, digest } });
  if (counts.new === 0) throw new AttuneError('there are no new pairs to train on; collect some preferences first');
  if (counts.held_out === 0)
    throw new AttuneError(
      `none of the prompts is held out (TRAIN_HELD_OUT is ${settings.TRAIN_HELD_OUT}); collect pairs on more prompts`,
    );
  // Those that were left out too: they are not new any more.
  await recordPairs(db, row.id, chosen);

  await record.enter('scoring', `scoring ${selected.length} pairs by the reference ${referenceId}`);
  const openEngine = async (id: string): Promise<Engine> => {
    const { weights } = await readCheckpoint(await store.folderOf(id));
    return openOnnxEngine({ architecture, weights, objective: how, threads: settings.TRAIN_THREADS });
  };
  const scored = await scoreReference(
    db,
    { id: referenceId, tokenizerHash, open: () => openEngine(referenceId) },
    selected.map(({ tokens }) => tokens),
    async (done, total) => record.progress('scoring', done, total, 'pairs'),
  );
  const pick = (split: Selected['split']) => scored.filter((_, at) => selected[at]!.pair.split === split);
  const train = pick('train');
  const heldOut = pick('held_out');

  const engine = await openEngine(parentId);
  try {
    await record.enter('training', `training on ${train.length} pairs, ${heldOut.length} held out`);
    const before = await evaluatePolicy(engine, heldOut);
    await record.measure(0, 'held_out', before.metrics, before.logps);
    const steps = await trainPolicy(engine, train, how, record);

    await record.enter('evaluating', 'evaluating on held-out pairs');
    const after = await evaluatePolicy(engine, heldOut);
    await record.measure(steps, 'held_out', after.metrics, after.logps);
    const metrics = { ...prefix('parent/', before.metrics), ...after.metrics };
    await record.change({
      metrics: Object.fromEntries(Object.entries(metrics).filter(([, value]) => Number.isFinite(value))),
    });
    const verdict = judge(before, after);
    await record.say('message', verdict.reason, { pass: verdict.pass }, verdict.pass ? 'info' : 'warn');
    if (!verdict.pass) return record.finish('succeeded', 'refused', { reason: verdict.reason });

    await record.enter('publishing', 'exporting, checking and publishing');
    const samples = heldOut.slice(0, 2).map(({ chosen }) => [...chosen.promptIds, ...chosen.responseIds]);
    const { objective, ...settingsOfIt } = how;
    const policyId = await publishPolicy({
      store,
      db,
      name: `${parent.name.split(' ')[0]} ${objective}`,
      from: parentFolder,
      architecture,
      weights: await engine.weights(),
      about: {
        parent: parentId,
        reference: referenceId,
        objective: { type: objective, ...settingsOfIt },
        pairs: { count: train.length, digest },
        metrics: after.metrics,
        source: `round ${row.id}`,
      },
      roundId: row.id,
      precision: settings.PRECISION,
      check: (folder) => checkExport(folder, architecture, engine, samples),
    });
    await record.change({ policy_id: policyId });

    await record.enter('activating', `activating ${policyId}`);
    if ((await activePolicyId(db)) !== parentId) {
      const reason = `another policy became active while it trained from ${parentId}; ${policyId} is published and not activated`;
      return record.finish('succeeded', 'published', { reason });
    }
    await activatePolicy(db, policyId, `published by ${row.id}`);
    await record.finish('succeeded', 'active', { reason: verdict.reason });
  } finally {
    await engine.close();
  }
}

/** Every epoch in a new order; returns the number of steps. */
async function trainPolicy(
  engine: Engine,
  pairs: TrainPair[],
  how: RoundSettings,
  record: RoundRecord,
): Promise<number> {
  const perEpoch = Math.ceil(pairs.length / how.batch_pairs);
  const steps = perEpoch * how.epochs;
  const started = performance.now();
  let tokens = 0;
  for (let step = 0; step < steps; step++) {
    const order = shuffle(pairs.length, how.seed + Math.floor(step / perEpoch));
    const at = (step % perEpoch) * how.batch_pairs;
    const batch = order.slice(at, at + how.batch_pairs).map((index) => pairs[index]!);
    const report = await engine.step(batch, learningRateAt(step, steps, how.learning_rate));
    tokens += report.tokens;
    const rate = Math.round(tokens / ((performance.now() - started) / 1000));
    await record.measure(step + 1, 'train', {
      loss: report.loss,
      grad_norm: report.gradNorm,
      tokens_per_second: rate,
      ...report.metrics,
    });
    record.progress('training', step + 1, steps, `loss ${report.loss.toFixed(4)}, ${rate} tokens/s`);
    const wrong = [report.loss, report.gradNorm].find((value) => !Number.isFinite(value));
    if (wrong !== undefined)
      throw new AttuneError(
        `training diverged at step ${step + 1}: the loss or its gradient is ${wrong}; lower LEARNING_RATE or use reduction mean`,
      );
  }
  await record.say('metrics', `trained ${steps} steps`, {
    steps,
    tokens,
    seconds: (performance.now() - started) / 1000,
  });
  return steps;
}

function countPairs(pairs: Selected[]) {
  const count = (test: (pair: Selected) => boolean) => pairs.filter(test).length;
  return {
    train: count((pair) => pair.split === 'train'),
    new: count((pair) => pair.split === 'train' && !pair.replay),
    replay: count((pair) => pair.split === 'train' && pair.replay),
    held_out: count((pair) => pair.split === 'held_out'),
  };
}

function prefix(name: string, values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [name + key, value]));
}
