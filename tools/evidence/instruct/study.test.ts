import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { writeTinyCheckpoint } from '../../../testing/tiny-checkpoint.ts';
import { ResultCache } from '../result-cache.ts';
import { type InstructConfig, instructConfig } from './config.ts';
import { chooseOutcomes } from './outcomes.ts';
import { renderInstructPage } from './page.ts';
import { runInstructStudy } from './study.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
await writeTinyCheckpoint(folder, { contextLength: 128 });
after(() => rm(folder, { recursive: true }));

const config: InstructConfig = {
  ...instructConfig,
  trainPairs: 48,
  validationPairs: 12,
  testPairs: 24,
  maxTokens: 60,
  learningRates: [1e-5, 3e-3],
  methods: instructConfig.methods.filter(({ objective }) => objective === 'dpo'),
  rollouts: { samples: 8, maxTokens: 8 },
};

test('a preference that any policy can learn is learned at the learning rate that validation picks', async () => {
  const file = path.join(folder, 'pairs.jsonl');
  const rows = Array.from({ length: 120 }, (_, i) => ({
    prompt: `${i} day:`,
    chosen: ' the day',
    rejected: ' and then',
  }));
  await writeFile(file, rows.map((row) => JSON.stringify(row)).join('\n'));
  const options = { checkpoint: folder, pairs: [file], benchCache: folder, threads: 1 };
  const lines: string[] = [];
  const keep = path.join(folder, 'cache');
  const log = (line: string) => lines.push(line);
  const study = await runInstructStudy(new ResultCache(keep, { readOnly: false }), config, options, log);
  assert.equal(study.runs.length, 2);
  assert.ok(
    lines.some((line) => line.includes('NOT measured')),
    'TRL is skipped loudly',
  );
  assert.equal(study.missing.length, 2);
  const prompts = new Set(study.prompts.validation);
  assert.ok(study.prompts.test.every((prompt) => !prompts.has(prompt)));
  const [outcome] = chooseOutcomes(study);
  assert.equal(outcome!.run.learningRate, 3e-3);
  assert.ok(outcome!.accuracy.value > 0.9, `${outcome!.accuracy.value}`);
  assert.ok(outcome!.margin.interval!.low > 0);
  assert.match(await renderInstructPage(study, 'planted', new Date(0)), /dpo sum β 0\.1 root/);
  const again = await runInstructStudy(new ResultCache(keep, { readOnly: true }), config, options, log);
  assert.deepEqual(again.runs, study.runs);
});

test('too few pairs are an error that names how many are needed', async () => {
  const file = path.join(folder, 'few.jsonl');
  await writeFile(file, JSON.stringify({ prompt: 'a', chosen: ' the', rejected: ' and' }));
  const options = { checkpoint: folder, pairs: [file], benchCache: folder, threads: 1 };
  const cache = new ResultCache(path.join(folder, 'other'), { readOnly: false });
  await assert.rejects(
    runInstructStudy(cache, config, options, () => {}),
    /1 pairs of at most 60 tokens, .*; about 84 are needed/,
  );
});
