// All runs with raters of a known taste, and what is known of where they must end.

import { AttuneError } from '../../shared/error.ts';
import { openProgress } from '../demo/progress.ts';
import type { Archive } from './archive.ts';
import type { TastePlan } from './plan.ts';
import { divergence, makeWorld, runTaste, type TasteRun, tiltedDistribution } from './raters.ts';

export type Taste = {
  plan: TastePlan;
  runs: TasteRun[];
  /** KL(true chosen distribution ‖ where DPO's loss is least), by β. */
  limits: { beta: number; forward: number }[];
  /** KL(true chosen distribution ‖ reference). */
  start: number;
};

export async function studyTaste(archive: Archive, plan: TastePlan, log: (line: string) => void): Promise<Taste> {
  const { contenders, seeds, ...world } = plan;
  const made = await makeWorld(plan);
  const runs: TasteRun[] = [];
  for (const seed of seeds) {
    for (const contender of contenders) {
      const run = await archive.recall(`taste ${contender.name} ${seed}`, [world, contender, seed], async () => {
        const bar = openProgress(`${contender.name}, seed ${seed}`, 'steps', plan.steps, log);
        try {
          return await runTaste(made, plan, { contender, seed }, (step, _, note) => bar.set(step, note));
        } finally {
          bar.stop();
        }
      });
      if (!run)
        throw new AttuneError(
          `evidence: ${contender.name} with seed ${seed} is not in ${archive.folder}; leave --page-only out and it is computed`,
          { code: 'nothing_kept' },
        );
      runs.push(run);
    }
  }
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const betas = contenders.flatMap(({ objective }) => (objective.objective === 'dpo' ? [objective.beta ?? 0.1] : []));
  return {
    plan,
    runs,
    limits: betas.map((beta) => ({
      beta,
      forward: mean(
        made.prompts.map(({ chosen, reference }, i) =>
          divergence(chosen, tiltedDistribution(reference, made.rewards[i]!, beta)),
        ),
      ),
    })),
    start: mean(made.prompts.map(({ chosen, reference }) => divergence(chosen, reference))),
  };
}
