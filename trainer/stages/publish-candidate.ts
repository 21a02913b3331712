// Stages 6 and 7: the trained policy exported, verified and published, and made a canary or active.
import { TRAINER } from '../../shared/access/audit.ts';
import { startCanary } from '../../shared/canary/canaries.ts';
import { countVotes } from '../../shared/canary/votes.ts';
import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import { publishPackage } from '../../shared/publish/publish.ts';
import { listMethodSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import { lockActivations } from '../../shared/store/canary-states.ts';
import {
  activateSuccessor,
  findRunningCanary,
  getActivePolicyId,
  type PolicyRow,
  registerPolicy,
  wasTried,
} from '../../shared/store/registry.ts';
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
 * Makes the policy a canary, or active, in place of the one that was active when the round began, and ends the round, in one
 * transaction; unless another policy became active or a canary meanwhile.
 */
export async function releaseCandidate(
  log: RoundLog,
  settings: ReleaseSettings,
  policy: PolicyRow,
  baselineId: string,
  reason: string,
): Promise<void> {
  const isCanary = await isTriedFirst(log.db, settings);
  const message = isCanary ? `making ${policy.id} a canary` : `activating ${policy.id}`;
  await log.enterStage('activating', message, { policy_id: policy.id });
  await log.write(async (transaction) => {
    const release = isCanary ? tryCandidate : activateCandidate;
    const obstacle = await release(transaction, { log, settings, policyId: policy.id, baselineId });
    if (obstacle !== null) return log.end(transaction, 'published', `published, not active: ${obstacle}`);
    const isActive = (await getActivePolicyId(transaction)) === policy.id;
    await log.end(transaction, isActive ? 'active' : 'canary', reason);
  });
}

type ReleaseSettings = Pick<
  Settings,
  'CANARY' | 'CANARY_MIN_VOTES' | 'CANARY_RATER_VOTES' | 'CANARY_SHARE' | 'WATCH_HOURS'
>;

/** With CANARY=auto: if so many people vote that a canary will be decided. */
async function isTriedFirst(db: Database, settings: ReleaseSettings): Promise<boolean> {
  const { CANARY, CANARY_MIN_VOTES, CANARY_RATER_VOTES } = settings;
  if (CANARY !== 'auto') return CANARY === 'on';
  return (await countVotes(db, CANARY_RATER_VOTES)) >= CANARY_MIN_VOTES;
}

type Release = { log: RoundLog; settings: ReleaseSettings; policyId: string; baselineId: string };

/** What is in the way, in words; null: it is a canary, or an operator has made it active. */
async function tryCandidate(transaction: Database, release: Release): Promise<string | null> {
  const { log, settings, policyId, baselineId } = release;
  await lockActivations(transaction);
  if ((await getActivePolicyId(transaction)) === policyId) return null;
  if (await wasTried(transaction, policyId)) return 'an operator has tried it while this round ended';
  const start = { policyId, baselineId, share: settings.CANARY_SHARE, roundId: log.roundId, actor: TRAINER };
  try {
    await startCanary(transaction, start);
    return null;
  } catch (error) {
    if (error instanceof AttuneError && error.status === 409) return error.message;
    throw error;
  }
}

async function activateCandidate(transaction: Database, release: Release): Promise<string | null> {
  const { log, settings, policyId, baselineId } = release;
  const by = { actor: TRAINER, watchHours: settings.WATCH_HOURS };
  if (await activateSuccessor(transaction, policyId, baselineId, `published by ${log.roundId}`, by)) return null;
  const running = await findRunningCanary(transaction);
  return running
    ? `${running.policy_id} is a canary (${running.id}), and is decided first`
    : `another policy became active in place of ${baselineId} while this round trained`;
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
