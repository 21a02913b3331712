// A trained reward exported, verified and published. It never becomes active.
import { publishPackage } from '../../shared/publish/publish.ts';
import { listMethodSettings } from '../../shared/rounds/settings.ts';
import { type PolicyRow, registerPolicy } from '../../shared/store/registry.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { verifyReward } from '../evaluation/verify-export.ts';
import type { RewardEvaluation } from './evaluate-reward.ts';
import type { RoundLog } from './log.ts';
import type { RoundContext } from './round-context.ts';
import type { Selection } from './selection.ts';

const VERIFIED_PAIRS = 4;

/** Returns the new reward. Throws if the exported graph differs from the engine. */
export async function publishReward(
  { trainer, log, config, objective }: RoundContext,
  { parent, parentFolder, architecture, counts }: Selection,
  engine: Engine,
  heldOut: TrainPair[],
  { metrics, intervals }: RewardEvaluation,
): Promise<PolicyRow> {
  await log.enterStage('publishing', 'exporting, verifying and publishing');
  const samples = heldOut.slice(0, VERIFIED_PAIRS).flatMap(({ chosen, rejected }) => [chosen, rejected]);
  const { reward_loss: _type, ...hyperparameters } = listMethodSettings('reward', config);
  return publishPackage({
    store: trainer.store,
    register: (row) => log.write((transaction) => registerPolicy(transaction, { ...row, round_id: log.roundId })),
    name: `${parent.name.split(' ')[0]} ${objective.type}`,
    sourceFolder: parentFolder,
    architecture: { ...architecture, output: 'reward' },
    weights: await engine.weights(),
    provenance: {
      parent: parent.id,
      reference: null,
      objective: { ...objective, ...hyperparameters },
      pairs: { count: counts.train, digest: counts.digest },
      metrics,
      intervals,
      source: `round ${log.roundId}`,
    },
    validate: (folder) => verifyReward(folder, engine, samples),
    onProgress: ({ stage, done, total }) => log.reportProgress('publishing', done, total, stage),
  });
}

export async function finishReward(log: RoundLog, { id }: PolicyRow, reason: string): Promise<void> {
  await log.update({ policy_id: id });
  await log.finish('published', reason);
}
