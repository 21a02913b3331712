// All runs with simulated Bradley-Terry raters, and the known optimum of each objective.

import { AttuneError } from '../../shared/error.ts';
import { openProgress } from '../report/progress.ts';
import { mean } from '../report/statistics.ts';
import type { RaterStudyConfig } from './config.ts';
import { createRaterTask, klDivergence, type RaterRun, tiltedDistribution, trainOnRaters } from './raters.ts';
import type { ResultCache } from './result-cache.ts';

export type RaterStudy = {
  config: RaterStudyConfig;
  runs: RaterRun[];
  /** KL(chosen distribution ‖ minimizer of DPO's loss), by β, in nats. */
  limits: { beta: number; forward: number }[];
  /** KL(chosen distribution ‖ reference), in nats. */
  start: number;
};

/** Throws AttuneError when a read-only cache lacks a run. */
export async function runRaterStudy(
  cache: ResultCache,
  config: RaterStudyConfig,
  log: (line: string) => void,
): Promise<RaterStudy> {
  const { methods, seeds, ...taskConfig } = config;
  const task = await createRaterTask(config);
  const runs: RaterRun[] = [];
  for (const seed of seeds) {
    for (const method of methods) {
      const run = await cache.getOrCompute(`raters ${method.name} ${seed}`, [taskConfig, method, seed], async () => {
        const bar = openProgress(`${method.name}, seed ${seed}`, 'steps', config.steps, log);
        try {
          return await trainOnRaters(task, config, { method, seed }, bar.set);
        } finally {
          bar.stop();
        }
      });
      if (!run)
        throw new AttuneError(
          `evidence: ${cache.folder} has no run of ${method.name} with seed ${seed}; run without --page-only to train it`,
          { code: 'run_not_cached' },
        );
      runs.push(run);
    }
  }
  const betas = methods.flatMap(({ objective }) => (objective.objective === 'dpo' ? [objective.beta ?? 0.1] : []));
  return {
    config,
    runs,
    limits: betas.map((beta) => ({
      beta,
      forward: mean(
        task.prompts.map(({ chosen, reference }, i) =>
          klDivergence(chosen, tiltedDistribution(reference, task.rewards[i]!, beta)),
        ),
      ),
    })),
    start: mean(task.prompts.map(({ chosen, reference }) => klDivergence(chosen, reference))),
  };
}
