// The page: one HTML file that needs neither script nor network, with every figure beside the command that made it. What
// it claims is computed from the figures, so it says what came out, whatever that is.

import { command, figure, section, table } from '../report/components.ts';
import { type Html, html, Html as Markup } from '../report/html.ts';
import { STYLE } from '../report/style.ts';
import type { Study } from './compare.ts';
import type { Equivalence } from './equivalences.ts';
import { judgeStudy, judgeTaste, outcomeOf, signed, spreadOf } from './figures.ts';
import { formula } from './formula.ts';
import { studySections } from './study-page.ts';
import { closedFormRows, equivalenceRows, largestGap, small, tasteRows } from './tables.ts';
import type { Taste } from './taste.ts';
import { drawTaste } from './taste-chart.ts';
import { CHOSEN, type ClosedForm, RATIOS, REFERENCE } from './world.ts';

export type Evidence = {
  world: { forms: ClosedForm[]; equivalences: Equivalence[] };
  /** Null where no pairs were given. */
  study: Study | null;
  taste: Taste;
  /** What the pairs are, who made them and under which licence. */
  about: string;
  date: Date;
};

const STYLE_HERE = `
pre { background: var(--ground); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; overflow-x: auto; font-size: 13px; margin: 14px 0 0; white-space: pre-wrap; }
h3.claim { text-align: left; font-size: 15px; margin: 22px 0 4px; }
tbody { white-space: pre-line; }
sub, sup { font-size: 72%; line-height: 0; }
ul { margin: 0 0 14px; padding-left: 20px; max-width: 900px; }
`;

export function writePage(evidence: Evidence): string {
  const { world, study, taste, date } = evidence;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attune: evidence</title>
<style>${new Markup(STYLE + STYLE_HERE)}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Attune evidence · ${date.toISOString().slice(0, 10)} · about <a href="https://arxiv.org/abs/2503.05079">arXiv 2503.05079</a></p>
<h1>${study ? `${judgeStudy(study).sentence}.` : 'What each objective does, in worlds small enough to know the answer.'}</h1>
</header>
${tiles(evidence)}
${worldSection(world.forms)}
${equivalencesSection(world.equivalences)}
${study && studySections(study, evidence.about)}
${tasteSection(taste)}
<footer>Written by <code>npm run evidence</code>. Brackets and bands go from the least seed to the greatest.</footer>
</main>
</body>
</html>
`.text;
}

function tiles({ world, study, taste }: Evidence): Html {
  const tile = (value: string, label: string) => html`<div class="tile"><b>${value}</b><span>${label}</span></div>`;
  const differences = world.equivalences.flatMap(({ checks }) => checks.map(({ difference }) => difference));
  const chosen = (name: string) =>
    study && outcomeOf(study, study.plan.contenders.find((contender) => contender.name === name)!)!;
  const end = (name: string) =>
    spreadOf(
      taste.runs.filter(({ contender }) => contender.name === name).map(({ looks }) => looks.at(-1)!.forward),
    ).mean.toFixed(3);
  const [lsif, dpo] = [chosen('lsif'), chosen('dpo')];
  return html`<div class="tiles">
${lsif && dpo && tile(`${signed(lsif.chosen.mean)} / ${signed(dpo.chosen.mean)}`, 'nats: held-out chosen log-probability after lsif / dpo')}
${lsif && dpo && tile(`${(100 * lsif.accuracy.mean).toFixed(0)}% / ${(100 * dpo.accuracy.mean).toFixed(0)}%`, 'held-out accuracy of lsif / dpo')}
${tile(
  Math.max(...differences)
    .toExponential(1)
    .replace('-', '−'),
  'largest difference between two sides of an equation of the paper, in single precision',
)}
${tile(`${end('lsif')} / ${end('dpo β 1')}`, 'nats from what raters of a known taste choose, after lsif / dpo at β 1')}
</div>`;
}

function worldSection(forms: ClosedForm[]): Html {
  return section(
    'A world of three answers',
    html`${table(closedFormRows(forms))}${command('node --test tools/evidence/world.test.ts')}`,
    formula(
      `The reference gives three answers ${REFERENCE.join(', ')}; those chosen are distributed as ${CHOSEN.join(', ')}; a pair is one of each, drawn apart. ` +
        `Then r* = π_chosen/π_ref = ${RATIOS.map((r) => r.toFixed(4)).join(', ')}. Losses and slopes come out of trainer/objectives.ts; minima are found by descent on it and stand beside what the formulas say. ` +
        'For lsif, ukl and bce the three ratios are free numbers, and nothing asks that π_ref·r sum to 1: it does so where the loss is least. dpo and sft are least over policies. ' +
        `Last column: whether the policy is the chosen distribution, which for dpo is so only at β = 1. Largest difference between found and formula: ${small(largestGap(forms))}.`,
    ),
  );
}

function equivalencesSection(equivalences: Equivalence[]): Html {
  const parts = equivalences.map(
    (equivalence) => html`<h3 class="claim">Eq. ${equivalence.equations}: ${equivalence.claim}</h3>
<ul class="note"><li>One side: ${formula(equivalence.left)}.</li><li>Other side: ${formula(equivalence.right)}.</li></ul>
${table(equivalenceRows(equivalence))}`,
  );
  return section(
    "The paper's equivalences, in numbers",
    html`${parts}${command('node --test tools/evidence/world.test.ts')}`,
    formula(
      "The equations are worked out here from the paper's argument and computed on both sides apart, in single precision; r is a reward, f = log π_θ − log π_ref, and π_φ an energy-based policy. What is least is found by 500 steps of descent.",
    ),
  );
}

function tasteSection(taste: Taste): Html {
  const { plan, start, limits } = taste;
  const count = plan.vocabulary ** plan.length;
  const named = (names: string[]) => plan.contenders.filter(({ name }) => names.includes(name));
  return section(
    'How near to what raters choose',
    html`<p><strong>${judgeTaste(taste)}</strong></p><div class="row">${figure(drawTaste('kl-to-what-raters-choose', taste, named(['lsif', 'ukl', 'bce', 'sft', 'dpo β 1']), [0.01, 1]))}${figure(drawTaste('kl-to-what-raters-choose-far', taste, named(['lsif', 'lsif, rejected', 'lsif, mean', 'dpo β 1', 'dpo β 0.1']), [0.01, 100]))}</div>
${table(tasteRows(taste))}${command('npm run evidence')}`,
    formula(
      `Simulated raters of a known Bradley-Terry taste. A random tiny decoder over ${plan.vocabulary} tokens answers ${plan.prompts} prompts with ${plan.length} tokens: ${count} responses each, all of them listed, so nothing is estimated. ` +
        `The taste is a sum of rewards of tokens at their places, standard deviation ${plan.spread}; both sides of a pair come from the reference, and y is chosen with probability σ(r(y) − r(z)). Then what is chosen is distributed as π_chosen(y) = 2 π_ref(y) Σ_z π_ref(z) σ(r(y) − r(z)), which lies ${start.toFixed(4)} nats from the reference. ` +
        `Real steps of the real engine: ${plan.steps} of ${plan.batchPairs} pairs, never the same draw twice, learning rate ${plan.learningRate}, ${plan.seeds.length} seeds, reduction sum. lsif, ukl and bce take chosen and rejected for samples of the reference (negatives: both), which half of each they are. ` +
        `dpo looks for π_ref e^{r/β} instead, ${limits.map(({ beta, forward }) => `${forward.toFixed(2)} nats away at β ${beta}`).join(' and ')}: it exaggerates the taste. “lsif, rejected” takes only losers for the reference's and so overshoots; “lsif, mean” estimates a ratio per token.`,
    ),
  );
}
