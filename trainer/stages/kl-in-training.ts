// How far a round's policy has moved from the root while it trains, so that a person sees it drift before the gate does.
import { rm } from 'node:fs/promises';
import type { Engine } from '../engine/engine.ts';
import { measureSampledKl } from '../evaluation/sampled-kl.ts';
import type { MeasureKl } from '../training.ts';
import { openPolicyEngine } from './policy-engine.ts';
import type { RoundContext } from './round-context.ts';
import type { PlannedSelection } from './round-plan.ts';

/** null: the plan has no responses for it. */
export function openKlMeasure(context: RoundContext, selection: PlannedSelection, engine: Engine): MeasureKl | null {
  const { architecture, plan, rootId } = selection;
  if (!plan.klRollouts) return null;
  const { requests, rows } = plan.klRollouts;
  const folder = `${context.checkpointFolder}-kl`;
  return async (onProgress) => {
    try {
      return await measureSampledKl({
        architecture,
        requests,
        rows,
        engine,
        openRoot: () => openPolicyEngine(context, selection, rootId, 'score'),
        seed: context.config.seed,
        threads: context.trainer.settings.TRAIN_THREADS,
        folder,
        onProgress,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

const KL = 'objective/kl';

/** What is known of the parent without measuring: the root has no distance from itself, and another has that of its gate. */
export function findParentKl({ parent, rootId }: PlannedSelection): Record<string, number> {
  if (parent.id === rootId) return { [KL]: 0 };
  const { metrics } = parent.manifest as { metrics?: Record<string, number> };
  const measured = metrics?.[KL];
  return measured === undefined ? {} : { [KL]: measured };
}
