// The page's sections on real preferences.
import { html } from 'hono/html';
import { command, figure, type Html, section, table } from '../report/components.ts';
import { logpDensities } from '../report/logp-densities.ts';
import { ACCURACY_CURVE, drawCurve, drawLearningRates, drawTrajectories, KL_CURVE } from './charts.ts';
import { formula } from './formula.ts';
import {
  chosenAtKl,
  concludeStudy,
  findRuns,
  formatSigned,
  getOutcome,
  lastEvaluation,
  logpPerToken,
  onlyFirstSeed,
} from './metrics.ts';
import { drawLogpChangeBoxes, drawLogpChanges } from './panels.ts';
import type { PreferenceStudy } from './preference-study.ts';
import { equalKlRows, formatExponential, learningRateRows, outcomeRows } from './tables.ts';

export function studySections(study: PreferenceStudy, about: string): Html {
  const { config, counts } = study;
  const steps = Math.ceil(config.trainPairs / config.batchPairs);
  const rate = (value: number) => formatExponential(value, 0);
  const setup =
    `Policy: stories15M. Pairs: ${about || study.file}. ` +
    `${counts.short} of ${counts.read} strict preferences have at most ${config.maxTokens} tokens. ` +
    `The reference is stories15M after one epoch of SFT on ${config.warmUpPairs} chosen responses (learning rate ${rate(config.warmUpLearningRate)}), which puts the text in its distribution; no run trains on these pairs. ` +
    `Each run samples ${config.trainPairs} of the other ${counts.train} training pairs by its seed and takes ${steps} AdamW steps of ${config.batchPairs} pairs, with a peak learning rate of ${rate(config.learningRate)}, 10% warm-up and cosine decay. ` +
    `dpo sums over tokens with β 0.1, as in its paper; lsif, ukl, bce and sft take means, as the DIL paper’s released code does. ${config.seeds.length} seeds; ${counts.heldOut} held-out pairs, split by a hash of the prompt.`;
  const run = `npm run evidence -- --pairs ${study.file}${about && ` --about '${about}'`}`;
  const missing =
    study.missing.length > 0 &&
    html`<p class="failure"><strong>Missing runs:</strong> ${study.missing.join('; ')}. The command below computes them and renders this page again.</p>`;
  return html`${section(
    'Real preferences: chosen and rejected log-probability',
    html`${missing}${conclusions(study)}${figure(drawLogpChanges(study))}<p class="note">Per response, over all seeds: boxes are quartiles, whiskers the 5th and 95th percentile.</p>${figure(drawLogpChangeBoxes(study))}${densities(study)}${table(outcomeRows(study))}${command(run)}`,
    setup,
  )}
${section(
  'Accuracy and KL to the reference',
  html`<div class="row">${figure(drawCurve(study, ACCURACY_CURVE, 490))}${figure(drawCurve(study, KL_CURVE, 490))}</div><p class="note">The same runs by KL instead of steps; larger dots are later evaluations.</p><div class="row">${figure(drawTrajectories(study, 'chosen', 490))}${figure(drawTrajectories(study, 'margin', 490))}</div>${command(run)}`,
  formula(
    `Accuracy: the share of held-out pairs whose chosen response gained more log-probability since the reference than the rejected one, per token (the table also has it summed over tokens). With ${counts.heldOut} pairs, the standard error for one seed is up to ${(50 / Math.sqrt(counts.heldOut)).toFixed(0)} percentage points, and all seeds share the held-out pairs. ` +
      `KL(policy ‖ reference): at each evaluation the policy continues ${config.kl.samples} held-out prompts at temperature 1 with up to ${config.kl.maxTokens} tokens, and both models score these tokens. The estimator Σ_t (ρ − 1 − log ρ), with ρ = π_ref/π_θ of the sampled token, is unbiased and non-negative.`,
  ),
)}
${section(
  'Dependence on the learning rate',
  html`<div class="row">${figure(drawLearningRates(study, 'chosen', 490))}${figure(drawLearningRates(study, 'margin', 490))}</div>${table(learningRateRows(study))}<h3 class="claim">At equal KL</h3><p class="note">Change of the chosen log-probability of every objective, in nats, at the final KL of the objective in the first column. Values are interpolated linearly between learning rates; – where an objective does not reach that KL.</p>${table(equalKlRows(study))}${command(run)}`,
  `The same budget with seed ${config.seeds[0]} at the learning rates ${[
    config.learningRate,
    ...config.otherLearningRates,
  ]
    .sort((a, b) => a - b)
    .map(rate)
    .join(
      ', ',
    )} (larger dots are larger rates), and two ablations: lsif summed over tokens, and dpo with means and β 1.`,
)}`;
}

function conclusions(study: PreferenceStudy): Html {
  const { fell, least } = concludeStudy(study);
  const yesNo = (value: boolean) => (value ? 'Yes' : 'No');
  return html`<ul><li><strong>Does the chosen log-probability fall under DPO?</strong> ${yesNo(fell)}, ${fell ? 'with every seed' : 'not with every seed'}.</li>
<li><strong>Does it fall less under lsif, ukl and bce?</strong> ${yesNo(least)}${least ? ': the lowest seed of each is above the highest of DPO' : ''}.</li>
${compareAtEqualKl(study)}</ul>`;
}

/** At equal budget the methods reach different KLs: the comparison of lsif and dpo at lsif's KL. */
function compareAtEqualKl(study: PreferenceStudy): Html | null {
  const [lsif, dpo] = (['lsif', 'dpo'] as const).map((name) =>
    study.config.methods.find(({ objective }) => objective.objective === name),
  );
  const outcome = lsif && getOutcome(onlyFirstSeed(study), lsif);
  const dpoChosen = outcome && dpo && chosenAtKl(study, dpo, outcome.kl.mean);
  if (!outcome || dpoChosen === null || dpoChosen === undefined) return null;
  return html`<li><strong>And at equal KL?</strong> lsif with seed ${study.config.seeds[0]!} ends at a KL of ${outcome.kl.mean.toFixed(2)} nats with a change of ${formatSigned(outcome.chosen.mean)}; dpo at a learning rate that reaches the same KL changes it by about ${formatSigned(dpoChosen)}. “Accuracy and KL to the reference” has the trajectories.</li>`;
}

/** Before and after training, per token, over all seeds. */
function densities(study: PreferenceStudy): Html {
  const pool = (runs: ReturnType<typeof findRuns>, when: 'before' | 'after') => {
    const logps = (side: 'chosen' | 'rejected') =>
      runs.flatMap((run) => logpPerToken(study, when === 'before' ? run.evaluations[0]! : lastEvaluation(run), side));
    return { chosen: logps('chosen'), rejected: logps('rejected') };
  };
  const plots = study.config.methods.map((method) => {
    const runs = findRuns(study, method);
    const logps = { before: pool(runs, 'before'), after: pool(runs, 'after') };
    return { title: method.name, name: `log-probability-before-and-after-${method.name}`, logps };
  });
  return html`<p class="note">Log-probability per token before and after training:</p>${logpDensities(plots, 330)}`;
}
