// Stages 6 and 7: the trained policy exported, verified and published, and made active.
import { publishPolicy } from '../../shared/publish/publish.ts';
import { activatePolicy, getActivePolicyId } from '../../shared/store/registry.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { verifyExport } from '../evaluation/verify-export.ts';
import type { RoundLog } from './log.ts';
import type { RoundContext } from './round-context.ts';
import type { Selection } from './select-pairs.ts';

/** Returns the id of the new policy. Throws if the exported graphs differ from the engine. */
export async function publishCandidate(
  { trainer, log, config, objective }: RoundContext,
  selection: Selection,
  engine: Engine,
  heldOut: TrainPair[],
  metrics: Record<string, number>,
): Promise<string> {
  await log.enterStage('publishing', 'exporting, verifying and publishing');
  const { parent, architecture, counts } = selection;
  const samples = heldOut.slice(0, 2).map(({ chosen }) => [...chosen.promptIds, ...chosen.responseIds]);
  // The path of a custom module is valid on this machine only; the manifest has its name and digest instead.
  const { objective: _path, ...hyperparameters } = config;
  return publishPolicy({
    store: trainer.store,
    db: log.db,
    name: `${parent.name.split(' ')[0]} ${objective.type}`,
    sourceFolder: selection.parentFolder,
    architecture,
    weights: await engine.weights(),
    provenance: {
      parent: parent.id,
      reference: selection.referenceId,
      objective: { ...objective, ...hyperparameters },
      pairs: { count: counts.train, digest: counts.digest },
      metrics,
      source: `round ${log.roundId}`,
    },
    roundId: log.roundId,
    precision: trainer.settings.PRECISION,
    validate: (folder) => verifyExport(folder, architecture, engine, samples),
  });
}

/** Activates the policy, unless another one became active since the round began. */
export async function activateCandidate(
  log: RoundLog,
  policyId: string,
  parentId: string | null,
  reason: string,
): Promise<void> {
  await log.enterStage('activating', `activating ${policyId}`, { policy_id: policyId });
  const activeId = await getActivePolicyId(log.db);
  if (activeId !== parentId && activeId !== policyId)
    return log.finish(
      'published',
      `another policy became active while this round trained from ${parentId}; ${policyId} is published but not active`,
    );
  if (activeId !== policyId) await activatePolicy(log.db, policyId, `published by ${log.roundId}`);
  await log.finish('active', reason);
}
