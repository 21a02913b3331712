import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Study } from './compare.ts';
import { showWorld } from './equivalences.ts';
import { accuracyOf, chosenAt, judgeStudy, judgeTaste } from './figures.ts';
import { type Evidence, writePage } from './page.ts';
import { type Contender, studyPlan, tastePlan } from './plan.ts';
import type { Run } from './study.ts';
import type { Taste } from './taste.ts';

const PAIRS = 6;

/** Runs that change every chosen log-probability by `chosen`, with a KL that goes with the learning rate. */
function makeStudy(chosenOf: (contender: Contender) => number): Study {
  const run = (contender: Contender, learningRate: number, seed: number): Run => {
    const look = (step: number) => ({
      step,
      chosen: Array.from({ length: PAIRS }, (_, i) => -20 - i + (step / 2) * (chosenOf(contender) + 0.01 * seed)),
      rejected: Array.from({ length: PAIRS }, (_, i) => -22 - i - step),
      divergence:
        step === 0
          ? null
          : { kl: step * learningRate * 1e5 * (1 + 0.01 * seed), error: 0.1, samples: 4, meanLength: 9 },
    });
    return { contender, learningRate, seed, looks: [0, 1, 2].map(look), losses: [1, 2], tokens: 10, seconds: 1 };
  };
  const { contenders, variants, learningRate, otherRates, seeds } = studyPlan;
  return {
    plan: studyPlan,
    file: 'some-pairs.json',
    counts: { read: 100, short: 90, refused: 0, train: 80, heldOut: PAIRS },
    lengths: { chosen: Array(PAIRS).fill(5), rejected: Array(PAIRS).fill(4) },
    missing: [],
    runs: [
      ...seeds.flatMap((seed) => contenders.map((contender) => run(contender, learningRate, seed))),
      ...otherRates.flatMap((rate) => contenders.map((contender) => run(contender, rate, 1))),
      ...variants.map((variant) => run(variant, learningRate, 1)),
    ],
  };
}

const taste: Taste = {
  plan: tastePlan,
  start: 0.1,
  limits: [
    { beta: 1, forward: 0.5 },
    { beta: 0.1, forward: 20 },
  ],
  runs: tastePlan.seeds.flatMap((seed) =>
    tastePlan.contenders.map((contender) => ({
      contender,
      seed,
      looks: [0, 250, 500].map((step) => ({ step, forward: 0.1 + step / 1000, backward: 0.2 })),
    })),
  ),
};

let world: Evidence['world'];
before(async () => {
  world = await showWorld();
});

const asThePaperSays = ({ objective }: Contender) => (objective.objective === 'dpo' ? -4 : -1);

test('the page holds everything and loads nothing', () => {
  const study = makeStudy(asThePaperSays);
  const page = writePage({ world, study, taste, about: '<b>pairs</b> & licence', date: new Date(0) });
  assert.doesNotMatch(page, /<script|<link|<img|@import|src=|url\((?!#)/i);
  assert.deepEqual(page.match(/href="[^#"][^"]*"/g), ['href="https://arxiv.org/abs/2503.05079"']);
  assert.match(page, /&lt;b&gt;pairs&lt;\/b&gt; &amp; licence/);
  assert.ok(page.length < 600_000, `${page.length} characters`);
  assert.ok((page.match(/<svg/g) ?? []).length >= 13);
  assert.doesNotMatch(page, /NaN|undefined|Infinity/);
  for (const text of ['−0.600417', '0.903429', '1.338386', 'npm run evidence -- --pairs some-pairs.json'])
    assert.ok(page.includes(text), `${text} is missing`);
});

test('runs that are not done yet are named, and the page is made of those that are', () => {
  const study = makeStudy(asThePaperSays);
  const runs = study.runs.filter(({ learningRate }) => learningRate === study.plan.learningRate);
  const page = writePage({
    world,
    study: { ...study, runs, missing: ['dpo, rate 0.00008, seed 1'] },
    taste,
    about: '',
    date: new Date(0),
  });
  assert.match(page, /Not done yet:<\/strong> dpo, rate 0\.00008, seed 1\./);
  assert.doesNotMatch(page, /NaN|undefined|Infinity/);
});

test('without pairs the page speaks of what needs none', () => {
  const page = writePage({ world, study: null, taste, about: '', date: new Date(0) });
  assert.doesNotMatch(page, /real preferences/);
  assert.match(page, /How near to what raters choose/);
});

test('the verdict is what came out, whether the paper says so or not', () => {
  const said = judgeStudy(makeStudy(asThePaperSays));
  assert.deepEqual([said.fell, said.least], [true, true]);
  assert.match(said.sentence, /falls \(−3\.98 nats a response\).*it stays higher \(lsif −0\.98/);
  const contrary = judgeStudy(makeStudy(({ objective }) => (objective.objective === 'ukl' ? -5 : 1)));
  assert.deepEqual([contrary.fell, contrary.least], [false, false]);
  assert.match(contrary.sentence, /rises .* not every objective/);
});

test('who comes nearer to what raters choose than the reference is told apart from who does not', () => {
  const ends: Record<string, number> = { lsif: 0.02, sft: 0.03 };
  const runs = taste.runs.map((run) => ({
    ...run,
    looks: [{ step: 500, forward: ends[run.contender.name] ?? 3, backward: 0.2 }],
  }));
  const said = judgeTaste({ ...taste, runs });
  assert.match(
    said,
    /^Nearer than the reference \(0\.1000 nats\): lsif 0\.0200, sft 0\.0300\. Farther: .*dpo β 1 3\.0000/,
  );
});

test('accuracy compares what both sides have gained, over tokens or per token', () => {
  const study = makeStudy(asThePaperSays);
  const run: Run = {
    ...study.runs[0]!,
    looks: [
      { step: 0, chosen: [-10, -10], rejected: [-10, -10], divergence: null },
      // gains of −2 over 8 tokens and −1 over 2, then of 1 and 0
      { step: 1, chosen: [-12, -9], rejected: [-11, -10], divergence: null },
    ],
  };
  const lengths = { chosen: [8, 2], rejected: [2, 2] };
  assert.equal(accuracyOf({ ...study, lengths }, run, run.looks[1]!, 'sum'), 0.5);
  assert.equal(accuracyOf({ ...study, lengths }, run, run.looks[1]!, 'mean'), 1);
});

test('at equal KL an objective is read off between its learning rates, and nowhere beyond them', () => {
  const study = makeStudy(asThePaperSays);
  const [lsif] = studyPlan.contenders;
  // Two nats lower at the highest rate, whose KL is 16.16; the common rate's is 4.04.
  const runs = study.runs.map((run) =>
    run.learningRate < 8e-5
      ? run
      : { ...run, looks: run.looks.map((look) => ({ ...look, chosen: look.chosen.map((logp) => logp - look.step) })) },
  );
  const at = (kl: number) => chosenAt({ ...study, runs }, lsif!, kl);
  assert.ok(Math.abs(at(4.04)! - -0.99) < 1e-9);
  assert.ok(Math.abs(at(10.1)! - -1.99) < 1e-9);
  assert.equal(at(100), null);
  assert.equal(at(0.01), null);
});
