// The page's sections on real preferences.
import { drawDensities } from '../demo/charts.ts';
import { COLOURS } from '../report/chart.ts';
import { command, figure, section, table } from '../report/components.ts';
import { type Html, html } from '../report/html.ts';
import { ACCURACY, drawCurve, drawRates, drawWays, KL } from './charts.ts';
import type { Study } from './compare.ts';
import { chosenAt, firstSeedOf, judgeStudy, lastOf, outcomeOf, perToken, runsOf, signed } from './figures.ts';
import { formula } from './formula.ts';
import { drawCourses, drawFans } from './panels.ts';
import { equalRows, outcomeRows, rateRows, small } from './tables.ts';

export function studySections(study: Study, about: string): Html {
  const { plan, counts } = study;
  const steps = Math.ceil(plan.trainPairs / plan.batchPairs);
  const rate = (value: number) => small(value, 0);
  const setting = html`Policy: stories15M. Pairs: ${about || study.file}. ${
    `Of ${counts.read} strict preferences ${counts.short} have at most ${plan.maxLength} tokens. ` +
    `The reference is stories15M after one epoch of cloning ${plan.preparePairs} chosen responses (learning rate ${rate(plan.prepareRate)}), so that it has seen such text, as papers do; no run trains on these. ` +
    `Every run draws ${plan.trainPairs} of the ${counts.train} other training pairs by its seed and makes ${steps} steps of ${plan.batchPairs} with AdamW, learning rate ${rate(plan.learningRate)} after a warm-up of a tenth, then half a cosine. ` +
    `dpo sums over tokens with β 0.1, as its authors have it; lsif, ukl, bce and sft take means, this project's default. ${plan.seeds.length} seeds; ${counts.heldOut} held-out pairs, held out by a hash of the prompt.`
  }`;
  const run = `npm run evidence -- --pairs ${study.file}${about && ` --about '${about}'`}`;
  const missing =
    study.missing.length > 0 &&
    html`<p class="failure"><strong>Not done yet:</strong> ${study.missing.join('; ')}. The command below computes what is missing and makes this page again.</p>`;
  return html`${section(
    'On real preferences: chosen and rejected log-probability',
    html`${missing}${verdicts(study)}${figure(drawCourses(study))}<p class="note">Below, response by response: boxes are quartiles, whiskers 5% and 95%, all seeds together.</p>${figure(drawFans(study))}${densities(study)}${table(outcomeRows(study))}${command(run)}`,
    setting,
  )}
${section(
  'Accuracy and distance',
  html`<div class="row">${figure(drawCurve(study, ACCURACY, 490))}${figure(drawCurve(study, KL, 490))}</div><p class="note">Below, the way through training by distance instead of steps: dots are the looks, small to large.</p><div class="row">${figure(drawWays(study, 'chosen', 490))}${figure(drawWays(study, 'margin', 490))}</div>${command(run)}`,
  formula(
    `Accuracy: the share of held-out pairs whose chosen response has gained more than the rejected one since the reference, per token (the table also has it summed over tokens). With ${counts.heldOut} pairs one seed's standard error is up to ${(50 / Math.sqrt(counts.heldOut)).toFixed(0)} points, and all seeds share the pairs. ` +
      `KL(policy ‖ reference): at each look the policy itself continues ${plan.kl.samples} held-out prompts at temperature 1 with up to ${plan.kl.maxTokens} tokens, and both score the very tokens; Σ_t (ρ − 1 − log ρ) with ρ = π_ref/π_θ of the sampled token is unbiased and never negative.`,
  ),
)}
${section(
  'Does the learning rate decide it?',
  html`<div class="row">${figure(drawRates(study, 'chosen', 490))}${figure(drawRates(study, 'margin', 490))}</div>${table(rateRows(study))}<h3 class="claim">At equal KL</h3><p class="note">The chosen log-probability of every objective (change in nats) where it is as far from the reference as the one in the first column is after its budget; straight lines between learning rates, and – where an objective never was as near or as far.</p>${table(equalRows(study))}${command(run)}`,
  `The same budget with seed ${plan.seeds[0]} at the learning rates ${[plan.learningRate, ...plan.otherRates]
    .sort((a, b) => a - b)
    .map(rate)
    .join(', ')} (small to large points), and two variants: lsif summed over tokens, and dpo with means and β 1.`,
)}`;
}

function verdicts(study: Study): Html {
  const { fell, least } = judgeStudy(study);
  const answer = (yes: boolean) => (yes ? 'Yes' : 'No');
  return html`<ul><li><strong>Does the chosen log-probability fall under DPO?</strong> ${answer(fell)}, ${fell ? 'with every seed' : 'not with every seed'}.</li>
<li><strong>Does it fall less under lsif, ukl and bce?</strong> ${answer(least)}${least ? ": the worst seed of each lies above DPO's best" : ''}.</li>
${atEqualDistance(study)}</ul>`;
}

/** The budget is the same and the distance gone is not: what is left of the difference where it is. */
function atEqualDistance(study: Study): Html | null {
  const [lsif, dpo] = (['lsif', 'dpo'] as const).map((name) =>
    study.plan.contenders.find(({ objective }) => objective.objective === name),
  );
  const first = lsif && outcomeOf(firstSeedOf(study), lsif);
  const other = first && dpo && chosenAt(study, dpo, first.kl.mean);
  if (!first || other === null || other === undefined) return null;
  return html`<li><strong>And as far from the reference?</strong> Where lsif ends with seed ${study.plan.seeds[0]!}, ${first.kl.mean.toFixed(2)} nats away, its chosen log-probability has changed by ${signed(first.chosen.mean)}; dpo's, at a learning rate that takes it as far, by about ${signed(other)}. Under “Accuracy and distance” is the way there.</li>`;
}

/** Before and after per token, all seeds together. */
function densities(study: Study): Html {
  const pooled = (runs: ReturnType<typeof runsOf>, first: boolean) => {
    const logps = (side: 'chosen' | 'rejected') =>
      runs.flatMap((run) => perToken(study, first ? run.looks[0]! : lastOf(run), side));
    return { chosen: logps('chosen'), rejected: logps('rejected') };
  };
  const key = (name: string, colour: string, when: string) =>
    html`<span><i class="${when}" style="color:${colour}"></i>${name}, ${when}</span>`;
  const legend = ['before', 'after'].map((when) => [
    key('chosen', COLOURS.chosen, when),
    key('rejected', COLOURS.rejected, when),
  ]);
  const plots = study.plan.contenders.map((contender) => {
    const runs = runsOf(study, contender);
    const both = { before: pooled(runs, true), after: pooled(runs, false) };
    return html`<div><h3>${contender.name}</h3>${figure(drawDensities(`log-probability-before-and-after-${contender.name}`, both, 330))}</div>`;
  });
  return html`<p class="note">The distributions themselves, per token, before and after:</p><p class="legend">${legend}</p><div class="row">${plots}</div>`;
}
