// Stages 6 and 7: the trained policy exported, verified and published, and made active.
import { publishPackage } from '../../shared/publish/publish.ts';
import { listMethodSettings } from '../../shared/rounds/settings.ts';
import { activateSuccessor, type PolicyRow, registerPolicy } from '../../shared/store/registry.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { verifyExport } from '../evaluation/verify-export.ts';
import type { RoundLog } from './log.ts';
import type { RoundContext } from './round-context.ts';
import type { Selection } from './selection.ts';

/** Returns the new policy. Throws if the exported graphs differ from the engine. */
export async function publishCandidate(
  { trainer, log, config, objective }: RoundContext,
  selection: Selection,
  engine: Engine,
  heldOut: TrainPair[],
  metrics: Record<string, number>,
): Promise<PolicyRow> {
  await log.enterStage('publishing', 'exporting, verifying and publishing');
  const { parent, architecture, counts } = selection;
  const samples = heldOut.slice(0, 2).map(({ chosen }) => [...chosen.promptIds, ...chosen.responseIds]);
  // The path of a custom module is valid on this machine only; the manifest has its name and digest instead.
  const { objective: _path, ...hyperparameters } = listMethodSettings('dil', config);
  return publishPackage({
    store: trainer.store,
    register: (row) => log.write((transaction) => registerPolicy(transaction, { ...row, round_id: log.roundId })),
    name: `${parent.name.split(' ')[0]} ${objective.type}`,
    sourceFolder: selection.parentFolder,
    architecture,
    weights: await engine.weights(),
    provenance: {
      parent: parent.id,
      reference: selection.rootId,
      objective: { ...objective, ...hyperparameters },
      pairs: { count: counts.train, digest: counts.digest },
      metrics,
      source: `round ${log.roundId}`,
    },
    precision: trainer.settings.PRECISION,
    validate: (folder) => verifyExport(folder, architecture, engine, samples),
    onProgress: ({ stage, done, total }) => log.reportProgress('publishing', done, total, stage),
  });
}

/**
 * Activates the policy in place of the one that was active when the round began, and ends the round, in one transaction;
 * unless another policy became active meanwhile.
 */
export async function activateCandidate(
  log: RoundLog,
  policy: PolicyRow,
  baselineId: string,
  reason: string,
): Promise<void> {
  await log.enterStage('activating', `activating ${policy.id}`, { policy_id: policy.id });
  await log.write(async (transaction) => {
    if (await activateSuccessor(transaction, policy.id, baselineId, `published by ${log.roundId}`))
      return log.end(transaction, 'active', reason);
    await log.end(
      transaction,
      'published',
      `published, not active: another policy became active in place of ${baselineId} while this round trained`,
    );
  });
}

/**
 * Ends the round with a policy that is published and not active. It has learned nothing that was erased, and the active one
 * has, but it is not better: an operator decides.
 */
export async function offerCandidate(
  log: RoundLog,
  policy: PolicyRow,
  baselineId: string,
  reason: string,
): Promise<void> {
  await log.update({ policy_id: policy.id });
  await log.finish(
    'published',
    `published, not active: ${reason}. Unlike ${baselineId}, ${policy.id} has learned nothing that was erased; ` +
      `\`attune policies promote ${policy.id}\` replaces it all the same`,
  );
}
