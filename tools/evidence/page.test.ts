import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type Method, preferenceStudyConfig, raterStudyConfig } from './config.ts';
import { computeToyResults } from './equivalences.ts';
import { accuracy, chosenAtKl, concludeRaterStudy, concludeStudy } from './metrics.ts';
import { type Evidence, renderEvidencePage } from './page.ts';
import type { PreferenceStudy } from './preference-study.ts';
import type { RaterStudy } from './rater-study.ts';
import type { TrainingRun } from './training-run.ts';

const PAIRS = 6;

/** Runs that change every chosen log-probability by `chosen`, with a KL that goes with the learning rate. */
function makeStudy(chosenOf: (method: Method) => number): PreferenceStudy {
  const run = (method: Method, learningRate: number, seed: number): TrainingRun => {
    const evaluation = (step: number) => ({
      step,
      chosen: Array.from({ length: PAIRS }, (_, i) => -20 - i + (step / 2) * (chosenOf(method) + 0.01 * seed)),
      rejected: Array.from({ length: PAIRS }, (_, i) => -22 - i - step),
      kl:
        step === 0
          ? null
          : { kl: step * learningRate * 1e5 * (1 + 0.01 * seed), error: 0.1, samples: 4, meanLength: 9 },
    });
    return {
      method,
      learningRate,
      seed,
      evaluations: [0, 1, 2].map(evaluation),
      losses: [1, 2],
      tokens: 10,
      seconds: 1,
    };
  };
  const { methods, variants, learningRate, otherLearningRates, seeds } = preferenceStudyConfig;
  return {
    config: preferenceStudyConfig,
    file: 'some-pairs.json',
    counts: { read: 100, short: 90, invalid: 0, train: 80, heldOut: PAIRS },
    lengths: { chosen: Array(PAIRS).fill(5), rejected: Array(PAIRS).fill(4) },
    missing: [],
    runs: [
      ...seeds.flatMap((seed) => methods.map((method) => run(method, learningRate, seed))),
      ...otherLearningRates.flatMap((rate) => methods.map((method) => run(method, rate, 1))),
      ...variants.map((variant) => run(variant, learningRate, 1)),
    ],
  };
}

const raterStudy: RaterStudy = {
  config: raterStudyConfig,
  start: 0.1,
  limits: [
    { beta: 1, forward: 0.5 },
    { beta: 0.1, forward: 20 },
  ],
  runs: raterStudyConfig.seeds.flatMap((seed) =>
    raterStudyConfig.methods.map((method) => ({
      method,
      seed,
      evaluations: [0, 250, 500].map((step) => ({ step, forward: 0.1 + step / 1000, backward: 0.2 })),
    })),
  ),
};

let toyResults: Evidence['toyResults'];
before(async () => {
  toyResults = await computeToyResults();
});

const likeThePaper = ({ objective }: Method) => (objective.objective === 'dpo' ? -4 : -1);

test('the page is self-contained', async () => {
  const study = makeStudy(likeThePaper);
  const page = await renderEvidencePage({
    toyResults,
    preferenceStudy: study,
    raterStudy: raterStudy,
    about: '<b>pairs</b> & licence',
    date: new Date(0),
  });
  assert.doesNotMatch(page, /<script|<link|<img|@import|src=|url\((?!#)/i);
  assert.deepEqual(page.match(/href="[^#"][^"]*"/g), ['href="https://arxiv.org/abs/2503.05079"']);
  assert.match(page, /&lt;b&gt;pairs&lt;\/b&gt; &amp; licence/);
  assert.ok(page.length < 600_000, `${page.length} characters`);
  assert.ok((page.match(/<svg/g) ?? []).length >= 13);
  assert.doesNotMatch(page, /NaN|undefined|Infinity/);
  for (const text of ['−0.600417', '0.903429', '1.338386', 'npm run evidence -- --pairs some-pairs.json'])
    assert.ok(page.includes(text), `${text} is missing`);
});

test('the page lists missing runs and shows the finished ones', async () => {
  const study = makeStudy(likeThePaper);
  const runs = study.runs.filter(({ learningRate }) => learningRate === study.config.learningRate);
  const page = await renderEvidencePage({
    toyResults,
    preferenceStudy: { ...study, runs, missing: ['dpo, rate 0.00008, seed 1'] },
    raterStudy: raterStudy,
    about: '',
    date: new Date(0),
  });
  assert.match(page, /Missing runs:<\/strong> dpo, rate 0\.00008, seed 1\./);
  assert.doesNotMatch(page, /NaN|undefined|Infinity/);
});

test('without pairs the page has only the analytic and the simulated results', async () => {
  const page = await renderEvidencePage({
    toyResults,
    preferenceStudy: null,
    raterStudy: raterStudy,
    about: '',
    date: new Date(0),
  });
  assert.doesNotMatch(page, /Real preferences/);
  assert.match(page, /Distance from the chosen distribution/);
});

test('the conclusion follows from the results, whether or not it confirms the paper', () => {
  const conclusion = concludeStudy(makeStudy(likeThePaper));
  assert.deepEqual([conclusion.fell, conclusion.least], [true, true]);
  assert.match(conclusion.sentence, /falls \(−3\.98 nats\/response\) and stays higher .*\(lsif −0\.98/);
  const contrary = concludeStudy(makeStudy(({ objective }) => (objective.objective === 'ukl' ? -5 : 1)));
  assert.deepEqual([contrary.fell, contrary.least], [false, false]);
  assert.match(contrary.sentence, /rises .* does not stay higher under every objective/);
});

test('methods are split into those closer to the chosen distribution than the reference and those farther', () => {
  const ends: Record<string, number> = { lsif: 0.02, sft: 0.03 };
  const runs = raterStudy.runs.map((run) => ({
    ...run,
    evaluations: [{ step: 500, forward: ends[run.method.name] ?? 3, backward: 0.2 }],
  }));
  const conclusion = concludeRaterStudy({ ...raterStudy, runs });
  assert.match(
    conclusion,
    /^Closer to the chosen distribution than the reference \(0\.1000 nats\): lsif 0\.0200, sft 0\.0300\. Farther: .*dpo β 1 3\.0000/,
  );
});

test('accuracy compares the gains of both sides, summed over tokens or per token', () => {
  const study = makeStudy(likeThePaper);
  const run: TrainingRun = {
    ...study.runs[0]!,
    evaluations: [
      { step: 0, chosen: [-10, -10], rejected: [-10, -10], kl: null },
      // gains of −2 over 8 tokens and −1 over 2, then of 1 and 0
      { step: 1, chosen: [-12, -9], rejected: [-11, -10], kl: null },
    ],
  };
  const lengths = { chosen: [8, 2], rejected: [2, 2] };
  assert.equal(accuracy({ ...study, lengths }, run, run.evaluations[1]!, 'sum'), 0.5);
  assert.equal(accuracy({ ...study, lengths }, run, run.evaluations[1]!, 'mean'), 1);
});

test('the change at equal KL is interpolated between learning rates and null outside their range', () => {
  const study = makeStudy(likeThePaper);
  const [lsif] = preferenceStudyConfig.methods;
  // Two nats lower at the highest rate, whose KL is 16.16; the common rate's is 4.04.
  const runs = study.runs.map((run) =>
    run.learningRate < 8e-5
      ? run
      : {
          ...run,
          evaluations: run.evaluations.map((evaluation) => ({
            ...evaluation,
            chosen: evaluation.chosen.map((logp) => logp - evaluation.step),
          })),
        },
  );
  const at = (kl: number) => chosenAtKl({ ...study, runs }, lsif!, kl);
  assert.ok(Math.abs(at(4.04)! - -0.99) < 1e-9);
  assert.ok(Math.abs(at(10.1)! - -1.99) < 1e-9);
  assert.equal(at(100), null);
  assert.equal(at(0.01), null);
});
