import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Checkpoint } from './client.ts';
import { judgeStories } from './contest.ts';
import { quickPlan } from './plan.ts';
import { writeReport } from './report.ts';
import type { Chapter, Story } from './story.ts';
import { SIMULATED, verdict, writeTable } from './table.ts';

const checkpoint = (step: number, split: 'train' | 'held_out', shift: number): Checkpoint => ({
  step_number: step,
  split,
  metrics: { loss: -0.5 - shift, 'rewards/chosen': shift, 'rewards/rejected': -shift, 'rewards/accuracies': 0.7 },
  logps: split === 'train' ? null : { chosen: [-1.2, -1.5, -1.1].map((x) => x + shift), rejected: [-1.4, -1.6, -1.3] },
});

function storyOf(texts: string[], referenceTexts: string[]): Story {
  const chapter: Chapter = {
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
    visit: { answers: [{ at: 0.5, seconds: 0.1, policy: 'pol_a' }], failures: [] },
    published: { policy: 'pol_b', swapSeconds: 0.3, contest: judgeStories(texts, referenceTexts) },
  };
  const stories = (policy: string, own: string[]) => ({ policy, texts: own, tokens: 100, seconds: 1 });
  return {
    plan: quickPlan,
    url: 'http://127.0.0.1:1',
    startedAt: new Date(0),
    seconds: 60,
    reference: 'pol_a',
    first: 'pol_a',
    chapters: [chapter],
    prompts: texts.map((_, at) => `Prompt <${at}>`),
    referenceStories: stories('pol_a', referenceTexts),
    newestStories: stories('pol_b', texts),
    failure: null,
  };
}

const won = () => storyOf(Array(30).fill('happy'), Array(30).fill('sad'));

test('the report stands alone, says that the raters are simulated, and shows each plot', () => {
  const page = writeReport(won());
  assert.ok(page.includes(SIMULATED));
  assert.equal(/<script|<link|<img|src=|url\((?!#)|@import/.exec(page), null);
  // one win rate, one density, the boxes, three curves, the visits
  assert.equal(page.match(/<svg /g)!.length, 7);
  assert.equal(/NaN|undefined|\[object/.exec(page), null);
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length, `ids are used twice: ${ids}`);
});

test('what a policy wrote cannot become part of the page', () => {
  const page = writeReport(storyOf(['<script>alert(1)</script> & "happy"'], ['</p><b onclick=x>sad']));
  assert.equal(/<script>|<b onclick/.exec(page), null);
  assert.ok(page.includes('&lt;script'));
  assert.ok(page.includes('Prompt &lt;0&gt;'));
});

test('the verdict claims what the interval shows and no more', () => {
  assert.match(verdict(won()), /^It learned the taste: .* 100\.0% .* 30 prompts never voted on/);
  assert.match(verdict(storyOf(['happy', 'sad'], ['sad', 'happy'])), /^Not shown: /);
  assert.match(verdict(storyOf(Array(30).fill('sad'), Array(30).fill('happy'))), /^It went the wrong way/);
  assert.match(verdict({ ...won(), chapters: [] }), /^No policy was published/);
});

test('the table has a line for each policy and for each held-out evaluation', () => {
  const lines = writeTable(won()).split('\n');
  assert.ok(lines.some((line) => /^round 1 +36 +100\.0% +\S+% – 100\.0% +30\/0\/0/.test(line)));
  assert.ok(lines.some((line) => /^round 1, before +-1\.267 \[/.test(line)));
  assert.ok(lines.some((line) => /^round 1, after +-1\.167 \[/.test(line)));
  assert.equal(lines.at(-1), SIMULATED);
});

test('a demo that ended early or whose policy was refused still has a report', () => {
  const early = writeReport({
    ...won(),
    chapters: [],
    referenceStories: null,
    newestStories: null,
    failure: 'the server <went> away',
  });
  assert.ok(early.includes('the server &lt;went&gt; away'));
  const refused = won();
  refused.chapters[0]!.published = null;
  refused.chapters[0]!.round = {
    ...refused.chapters[0]!.round,
    policy: null,
    reason: 'gate: no better than its parent',
  };
  assert.ok(writeReport(refused).includes('gate: no better than its parent'));
  assert.match(writeTable(refused), /refused/);
});
