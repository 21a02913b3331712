// The report: one HTML file that needs nothing else, neither script nor network, with the whole of a demo in it. It says
// first that the raters are simulated, and shows the evaluation's first stories, not its best ones.

import { COLOURS } from '../report/chart.ts';
import { figure, section, table } from '../report/components.ts';
import { Html, html } from '../report/html.ts';
import { STYLE } from '../report/style.ts';
import { drawBoxes, drawCurves, drawDensities, drawVisits, drawWinRates } from './charts.ts';
import { heldOutOf, newestOf, type Story } from './story.ts';
import { logpRows, percent, policyRows, SIMULATED, verdict } from './table.ts';
import { HAPPY, RATERS, SAD, scoreStory, TASTE } from './taste.ts';

const EXAMPLES = 6;

const RATER_NOTE =
  'Two simulated raters take turns: ' +
  RATERS.map(
    ({ name, carelessness, threshold }) =>
      `${name} calls a difference of less than ${threshold} a tie${carelessness > 0 ? ` and votes at random in ${percent(carelessness, 0)} of cases` : ''}`,
  ).join('; ') +
  '. In the evaluation nobody votes: the higher score wins, by however little.';

export function writeReport(story: Story): string {
  const trained = story.chapters.some((chapter) => chapter.checkpoints.length > 0);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attune demo</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Attune demo · ${story.startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC</p>
<h1>${verdict(story)}</h1>
<p class="simulated"><strong>Simulated raters.</strong> ${SIMULATED}</p>
${story.failure !== null && html`<p class="failure"><strong>Ended early.</strong> ${story.failure}</p>`}
</header>
${tiles(story)}
${newestOf(story) && section('Win rate against the reference', html`${figure(drawWinRates(story))}${table(policyRows(story))}`, winRateNote(story))}
${trained && section('Chosen and rejected log-probabilities', logps(story), LOGPS_NOTE)}
${trained && section('Training', curves(story), CURVES_NOTE)}
${story.chapters.some(({ visit }) => visit.answers.length > 0) && section('Answers while it learned', figure(drawVisits(story)), visitNote(story))}
${examples(story)}
${section('The taste', tasteBox(), '')}
${section('Settings and counts', table(settings(story)), '')}
<footer>Written by <code>attune demo</code>. Everything here was done through the public HTTP API.</footer>
</main>
</body>
</html>
`.text;
}

function tiles(story: Story): Html {
  const newest = newestOf(story);
  const votes = story.chapters.reduce((sum, chapter) => sum + chapter.votes.comparisons, 0);
  const published = story.chapters.filter((chapter) => chapter.published).length;
  const { answered, failed } = visits(story);
  const tile = (value: string, label: string) => html`<div class="tile"><b>${value}</b><span>${label}</span></div>`;
  return html`<div class="tiles">
${newest && tile(percent(newest.contest.rate), `win rate, 95% interval ${percent(newest.contest.low)} to ${percent(newest.contest.high)}`)}
${tile(String(votes), 'simulated votes')}
${tile(`${published} of ${story.chapters.length}`, 'rounds published a policy')}
${tile(failed === 0 ? `${answered}` : `${answered} + ${failed} failed`, failed === 0 ? 'answers while it trained and swapped, none failed' : 'answers while it trained and swapped')}
${tile(`${(story.seconds / 60).toFixed(1)} min`, 'in all, on this machine')}
</div>`;
}

function visits(story: Story): { answered: number; failed: number } {
  return {
    answered: story.chapters.reduce((sum, { visit }) => sum + visit.answers.length, 0),
    failed: story.chapters.reduce((sum, { visit }) => sum + visit.failures.length, 0),
  };
}

function winRateNote(story: Story): string {
  return (
    `Each policy and the reference continue the same ${story.prompts.length} prompts. Nobody has voted on any of them, and the children they are about are in none ` +
    'of the prompts that were voted on. The taste says which continuation it likes better; a tie is half a win. Bars are 95% Wilson intervals over prompts. ' +
    'Score is the mean by the taste; distinct pairs is the share of two-word sequences that are new within their text, which would fall if a policy learned to repeat itself.'
  );
}

const LOGPS_NOTE =
  'Over the held-out pairs of each round, which are never trained on: the mean log-probability per token of the chosen and of the rejected continuation, under the policy before the round and after it. ' +
  'Boxes are quartiles, whiskers 5% and 95%. Held-out pairs grow from round to round.';

function logps(story: Story): Html {
  const drawn = story.chapters.filter((chapter) => heldOutOf(chapter) !== null);
  if (drawn.length === 0) return html`<p>No round got as far as its held-out evaluation.</p>`;
  const width = drawn.length === 1 ? 1000 : drawn.length === 2 ? 490 : 330;
  const key = (name: string, colour: string, when: string) =>
    html`<span><i class="${when}" style="color:${colour}"></i>${name}, ${when}</span>`;
  const legend = ['before', 'after'].map((when) => [
    key('chosen', COLOURS.chosen, when),
    key('rejected', COLOURS.rejected, when),
  ]);
  return html`<p class="legend">${legend}</p><div class="row">${story.chapters.map((chapter, at) => {
    const heldOut = heldOutOf(chapter);
    return (
      heldOut && html`<div><h3>Round ${at + 1}</h3>${figure(drawDensities(`round-${at + 1}`, heldOut, width))}</div>`
    );
  })}</div>${figure(drawBoxes(story))}${table(logpRows(story))}`;
}

const CURVES_NOTE =
  'Every optimizer step, on the pairs it was about to learn from. The thick line is the mean of five steps. Log-ratios are mean per token against the reference; accuracy is the share of pairs whose chosen continuation has the larger one. Dotted lines: a new round begins.';

function curves(story: Story): Html {
  return html`<div class="row">
${figure(drawCurves(story, `loss (${story.plan.training.objective})`, [{ name: 'loss', metric: 'loss', colour: COLOURS.policy }], 330))}
${figure(
  drawCurves(
    story,
    'log-ratios',
    [
      { name: 'chosen', metric: 'rewards/chosen', colour: COLOURS.chosen },
      { name: 'rejected', metric: 'rewards/rejected', colour: COLOURS.rejected },
    ],
    330,
  ),
)}
${figure(drawCurves(story, 'accuracy', [{ name: 'accuracy', metric: 'rewards/accuracies', colour: COLOURS.policy }], 330))}
</div>`;
}

function visitNote(story: Story): string {
  const { answered, failed } = visits(story);
  const swaps = story.chapters
    .flatMap(({ published }) => (published ? [`${published.swapSeconds.toFixed(1)} s`] : []))
    .join(', ');
  return (
    `A visitor asked for eight tokens twice a second while the rounds trained on the same machine: ${answered} answers, ${failed} failures. ` +
    `The colour is the policy that the answer names.${swaps ? ` From the end of a round until the edge answered from its policy: ${swaps}.` : ''}`
  );
}

function examples(story: Story): Html {
  const { newestStories: newest, referenceStories: reference, prompts } = story;
  if (!newest || !reference) return html``;
  const side = (title: string, text: string, wins: boolean) =>
    html`<div class="side${wins && ' wins'}"><h4>${title} <span>score ${scoreStory(text)}</span></h4><p>${marked(text)}</p></div>`;
  const cards = prompts.slice(0, EXAMPLES).map((prompt, at) => {
    const [first, second] = [reference.texts[at]!, newest.texts[at]!];
    const difference = scoreStory(second) - scoreStory(first);
    return html`<article><p class="prompt">${prompt}</p><div class="pair">${side('Reference', first, difference < 0)}${side('Newest policy', second, difference > 0)}</div></article>`;
  });
  return section(
    'Stories side by side',
    html`${cards}`,
    `The first ${cards.length} of ${prompts.length} evaluation prompts, as they came. Happy and sad words are marked; the frame is around the one that the taste prefers. Stories end where ${story.plan.maxTokens} tokens do.`,
  );
}

function marked(text: string): Html[] {
  return text.split(/([A-Za-z]+)/).map((part) => {
    const word = part.toLowerCase();
    if (HAPPY.has(word)) return html`<mark class="happy">${part}</mark>`;
    if (SAD.has(word)) return html`<mark class="sad">${part}</mark>`;
    return html`${part}`;
  });
}

function tasteBox(): Html {
  const list = (words: ReadonlySet<string>) => [...words].join(', ');
  return html`<p class="note">${TASTE} ${RATER_NOTE}</p>
<details><summary>All happy and sad words</summary><p><b>Happy:</b> ${list(HAPPY)}.</p><p><b>Sad:</b> ${list(SAD)}.</p></details>`;
}

function settings(story: Story): string[][] {
  const { plan } = story;
  const perRound = (tell: (at: number) => string) => story.chapters.map((_, at) => tell(at)).join(', ') || '–';
  const chapter = (at: number) => story.chapters[at]!;
  return [
    ['setting', 'value'],
    ['reference', story.reference ?? '–'],
    ['newest policy', newestOf(story)?.policy ?? '–'],
    ['objective', `${plan.training.objective}, reduction ${plan.training.reduction}`],
    [
      'learning rate, epochs, pairs per step',
      `${plan.training.learning_rate}, ${plan.training.epochs}, ${plan.training.batch_pairs}`,
    ],
    ['sampling', `temperature ${plan.temperature}, at most ${plan.maxTokens} tokens`],
    ['comparisons in each round', perRound((at) => String(chapter(at).votes.comparisons))],
    ['of these ties', perRound((at) => String(chapter(at).votes.ties))],
    [
      'pairs trained on (new + replayed)',
      perRound((at) => `${chapter(at).round.pairs?.new ?? 0} + ${chapter(at).round.pairs?.replay ?? 0}`),
    ],
    ['pairs held out', perRound((at) => String(chapter(at).round.pairs?.held_out ?? 0))],
    ['seconds of voting', perRound((at) => chapter(at).votes.seconds.toFixed(0))],
    ['seconds of each round', perRound((at) => chapter(at).trainSeconds.toFixed(0))],
    ['gate', perRound((at) => chapter(at).round.reason ?? '–')],
    ['seed', String(plan.seed)],
  ];
}
