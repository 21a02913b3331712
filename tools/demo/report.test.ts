import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Checkpoint } from './client.ts';
import { quickConfig } from './config.ts';
import { compareTexts } from './evaluation.ts';
import { renderReport } from './report.ts';
import type { DemoResult, RoundResult } from './result.ts';
import { formatConclusion, formatSummary, SIMULATED_NOTE } from './summary.ts';

const checkpoint = (step: number, split: 'train' | 'held_out', shift: number): Checkpoint => ({
  step_number: step,
  split,
  metrics: { loss: -0.5 - shift, 'rewards/chosen': shift, 'rewards/rejected': -shift, 'rewards/accuracies': 0.7 },
  logps: split === 'train' ? null : { chosen: [-1.2, -1.5, -1.1].map((x) => x + shift), rejected: [-1.4, -1.6, -1.3] },
});

function makeResult(texts: string[], referenceTexts: string[]): DemoResult {
  const round: RoundResult = {
    votes: { comparisons: 40, strict: 36, ties: 4, seconds: 5 },
    round: {
      id: 'round_1',
      status: 'succeeded',
      stage: 'active',
      reference: 'pol_a',
      parent: 'pol_a',
      policy: 'pol_b',
      pairs: { train: 30, new: 30, replay: 0, held_out: 6 },
      metrics: {},
      reason: 'gate: better',
    },
    checkpoints: [
      checkpoint(0, 'held_out', 0),
      checkpoint(1, 'train', 0),
      checkpoint(2, 'train', 0.05),
      checkpoint(2, 'held_out', 0.1),
    ],
    trainSeconds: 20,
    probe: { responses: [{ at: 0.5, seconds: 0.1, policy: 'pol_a' }], failures: [] },
    publication: { policy: 'pol_b', swapSeconds: 0.3, winRate: compareTexts(texts, referenceTexts) },
    canary: {
      policy: 'pol_b',
      state: 'promoted',
      reason: '2 of 2 blind votes are for it',
      threshold: 1.3,
      points: [
        { votes: 1, wins: 1, losses: 0, better: 0.18, worse: -0.3 },
        { votes: 2, wins: 2, losses: 0, better: 1.37, worse: -0.48 },
      ],
      winRate: compareTexts(texts, referenceTexts),
    },
  };
  const continuations = (policy: string, own: string[]) => ({ policy, texts: own, tokens: 100, seconds: 1 });
  return {
    config: quickConfig,
    url: 'http://127.0.0.1:1',
    startedAt: new Date(0),
    seconds: 60,
    reference: 'pol_a',
    initialPolicy: 'pol_a',
    rounds: [round],
    prompts: texts.map((_, at) => `Prompt <${at}>`),
    referenceTexts: continuations('pol_a', referenceTexts),
    newestTexts: continuations('pol_b', texts),
    failure: null,
  };
}

const successful = () => makeResult(Array(30).fill('happy'), Array(30).fill('sad'));

test('the report is self-contained, states that the raters are simulated, and has every plot', async () => {
  const page = await renderReport(successful());
  assert.ok(page.includes(SIMULATED_NOTE));
  assert.equal(/<script|<link|<img|src=|url\((?!#)|@import/.exec(page), null);
  // win rates, evidence, one density, box plots, three curves, probe latency
  assert.equal(page.match(/<svg /g)!.length, 8);
  assert.match(page, /2 of 2 blind votes are for it/);
  assert.equal(/NaN|undefined|\[object/.exec(page), null);
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length, `duplicate ids: ${ids}`);
});

test('generated text is escaped', async () => {
  const page = await renderReport(makeResult(['<script>alert(1)</script> & "happy"'], ['</p><b onclick=x>sad']));
  assert.equal(/<script>|<b onclick/.exec(page), null);
  assert.ok(page.includes('&lt;script'));
  assert.ok(page.includes('Prompt &lt;0&gt;'));
});

test('the conclusion follows from the interval', () => {
  assert.match(
    formatConclusion(successful()),
    /^The policy learned the raters' preference: .* 100\.0% .* 30 held-out prompts/,
  );
  assert.match(formatConclusion(makeResult(['happy', 'sad'], ['sad', 'happy'])), /^Inconclusive: /);
  assert.match(
    formatConclusion(makeResult(Array(30).fill('sad'), Array(30).fill('happy'))),
    /^The policy moved away from the raters' preference/,
  );
  assert.match(formatConclusion({ ...successful(), rounds: [] }), /^No policy was published/);
});

test('the summary has a row for each policy and for each held-out evaluation', () => {
  const lines = formatSummary(successful()).split('\n');
  assert.ok(lines.some((line) => /^round 1 +36 +100\.0% +\S+% – 100\.0% +30\/0\/0/.test(line)));
  assert.ok(lines.some((line) => /^round 1, before +-1\.267 \[/.test(line)));
  assert.ok(lines.some((line) => /^round 1, after +-1\.167 \[/.test(line)));
  assert.equal(lines.at(-1), SIMULATED_NOTE);
});

test('a run that ended early or published nothing still has a report', async () => {
  const early = await renderReport({
    ...successful(),
    rounds: [],
    referenceTexts: null,
    newestTexts: null,
    failure: 'the server <went> away',
  });
  assert.ok(early.includes('the server &lt;went&gt; away'));
  const rejected = successful();
  rejected.rounds[0]!.publication = null;
  rejected.rounds[0]!.round = {
    ...rejected.rounds[0]!.round,
    policy: null,
    reason: 'gate: no better than its parent',
  };
  assert.ok((await renderReport(rejected)).includes('gate: no better than its parent'));
  assert.match(formatSummary(rejected), /rejected/);
});
