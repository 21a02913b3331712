import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { LLAMA } from '../../shared/model/architecture.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { writeRandomCheckpoint } from './random-checkpoint.ts';
import { countWork, listMatmuls } from './train-flops.ts';
import { LENGTH_RANGES, randomPairs, readVocabulary, toTexts } from './train-pairs.ts';
import { computePeakFlops } from './train-peak-flops.ts';
import { assertSameSteps, type StepsOutcome, type StepsResult } from './train-steps.ts';
import { evaluateStepTargets } from './train-targets.ts';

const run = promisify(execFile);
const TRAIN = path.join(import.meta.dirname, 'train.ts');

const tiny = {
  ...LLAMA,
  hiddenSize: 8,
  intermediateSize: 12,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  headDim: 4,
  vocabSize: 1000,
  contextLength: 256,
  normEpsilon: 1e-5,
  ropeTheta: 10000,
  tied: true,
  bos: 1,
  eos: [2],
};

/** Writes a byte-level BPE tokenizer, which marks spaces by Ġ. */
async function writeTokenizer(folder: string, vocab: Record<string, number>, merges: string[]): Promise<void> {
  await mkdir(folder);
  const tokenizer = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges },
  };
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(path.join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<s>', eos_token: '</s>' }));
}

let home: string;
let folder: string;
let byteLevel: string;
before(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'attune-bench-'));
  folder = path.join(home, 'tiny');
  await writeRandomCheckpoint(folder, tiny, 1);
  byteLevel = path.join(home, 'byte-level');
  const letters = Array.from('abcde');
  const merges = [
    ...letters.map((letter) => `Ġ ${letter}`),
    ...letters.flatMap((first) => letters.map((second) => `Ġ${first} ${second}`)),
  ];
  const pieces = ['<s>', '</s>', 'Ġ', ...letters, ...merges.map((merge) => merge.replace(' ', ''))];
  await writeTokenizer(byteLevel, Object.fromEntries(pieces.map((piece, id) => [piece, id])), merges);
});
after(() => rm(home, { recursive: true, force: true }));

test('operation counts match a count by hand', () => {
  // Matrices of a layer: q 8·8, k and v 4·8 each, o 8·8, gate, up and down 12·8 each; two layers.
  const weights = 2 * (64 + 32 + 32 + 64 + 3 * 96);
  // Prompt of 2, responses of 3 and 1: 4 and 2 input tokens; 10 and 3 query-key pairs.
  const work = countWork(tiny, [{ prompt: [1, 5], chosen: [6, 7, 2], rejected: [2] }]);
  assert.equal(work.tokens, 6);
  assert.equal(work.repeatedTokens, 2);
  const head = 6 * 8 * 1000 * 4;
  assert.equal(work.flops.separate, 6 * weights * 6 + head + 12 * 8 * 2 * (10 + 3));
  // With the prompt computed once: 2 tokens and their 3 query-key pairs fewer.
  assert.equal(work.flops.shared, 6 * weights * 4 + head + 12 * 8 * 2 * 10);
});

test('the matrix products of a step take six operations per row and weight', () => {
  const matmuls = listMatmuls(tiny, 10, 0.5);
  const flops = matmuls.reduce((sum, { rows, inner, columns, count }) => sum + 2 * rows * inner * columns * count, 0);
  assert.equal(flops, 6 * (2 * 480 * 10 + 8000 * 5));
});

test('the peak uses the fastest library and size for each product', () => {
  const matmul = { rows: 10, inner: 10, columns: 10, transposeA: false, transposeB: false, count: 1 };
  const sizes = [[matmul, matmul]];
  // 2,000 operations each: one library is faster for the first, the other for the second.
  const peak = computePeakFlops(sizes, { one: [1, 4], other: [2, 1] });
  assert.deepEqual(peak, { best: 2000, byLibrary: { one: 800, other: 4000 / 3 } });
});

const result = (peer: string, rounds: number[], peakMiB: number): StepsResult => {
  const median = rounds.toSorted((a, b) => a - b)[rounds.length >> 1]!;
  return {
    peer,
    rounds,
    median,
    best: Math.min(...rounds),
    peakMiB,
    loadSeconds: 1,
    otherCores: 0,
    flops: 90,
    padding: 0,
  };
};

test('a target compares runs of the same round, and memory must be lower', () => {
  // Both ran at half speed in the second round.
  const results = [result('attune', [1, 2, 1], 100), result('torch', [3, 4, 2.5], 90)];
  const targets = evaluateStepTargets(results, { best: 100, byLibrary: {} });
  assert.deepEqual(
    targets.map(({ metric, reached, isReached }) => [metric, reached, isReached]),
    [
      ['tokens/s', 2.5, true],
      ['peak memory', 100 / 90, false],
      ['MFU', 0.9, true],
    ],
  );
});

test('rejects peers that do not compute the same', () => {
  const outcome = (losses: number[]): StepsOutcome => ({
    warm: [],
    steps: losses.map((loss) => ({ loss, gradNorm: 5, computed: 9, seconds: 1 })),
    loadSeconds: 1,
    peakBytes: 1,
    otherCores: 0,
  });
  const agree = new Map([
    ['a', [outcome([-0.5, -0.6])]],
    ['b', [outcome([-0.5002, -0.6])]],
  ]);
  assertSameSteps(agree);
  agree.get('b')!.push(outcome([-0.5, -0.61]));
  assert.throws(() => assertSameSteps(agree), /step 2: the loss of b is -0.61, of a -0.6/);
});

test('pairs depend only on the seed, have lengths within range, and their texts encode to their tokens', async () => {
  const vocabulary = await readVocabulary(folder);
  const pairs = randomPairs(vocabulary, 40, 1);
  assert.deepEqual(pairs.slice(0, 3), randomPairs(vocabulary, 3, 1));
  assert.notDeepEqual(pairs, randomPairs(vocabulary, 40, 2));
  for (const { prompt, chosen, rejected } of pairs) {
    assert.ok(prompt.length >= LENGTH_RANGES.prompt[0] && prompt.length <= LENGTH_RANGES.prompt[1]);
    for (const { length } of [chosen, rejected])
      assert.ok(length >= LENGTH_RANGES.response[0] && length <= LENGTH_RANGES.response[1]);
  }
  const tokenizer = await Tokenizer.open(folder);
  for (const [at, text] of toTexts(vocabulary, pairs).entries()) {
    const { promptIds, responseIds } = tokenizer.encodePair(text.prompt, text.rejected, { eos: false });
    assert.deepEqual([promptIds, [...responseIds, vocabulary.eos]], [pairs[at]!.prompt, pairs[at]!.rejected]);
  }
});

test('the texts of pairs encode to their tokens with a tokenizer of GPT-2’s kind, which adds neither BOS nor a space', async () => {
  const vocabulary = await readVocabulary(byteLevel);
  const pairs = randomPairs(vocabulary, 3, 1);
  const tokenizer = await Tokenizer.open(byteLevel);
  for (const [at, text] of toTexts(vocabulary, pairs).entries()) {
    const { promptIds, responseIds } = tokenizer.encodePair(text.prompt, text.chosen, { eos: true });
    assert.deepEqual([promptIds, responseIds], [pairs[at]!.prompt, pairs[at]!.chosen]);
  }
});

test('a tokenizer without short words is refused by name', async () => {
  const empty = path.join(home, 'empty');
  await writeTokenizer(empty, { a: 0 }, []);
  await assert.rejects(readVocabulary(empty), /tokenizer.json: no token is a space and one to three lowercase letters/);
});

test('measures steps and a round of any checkpoint without Python', async () => {
  const json = path.join(home, 'result.json');
  const args = ['--model', folder, '--cache', path.join(home, 'cache'), '--json', json];
  const { stdout } = await run(process.execPath, [
    TRAIN,
    ...args,
    // Not attune:tensorflow, which is measured only where TensorFlow is installed.
    ...['--peers', 'attune,torch,torch:lean,trl,trl:tuned'],
    ...['--pairs', '2', '--round-pairs', '4', '--rounds', '1', '--steps', '1', '--threads', '1'],
  ]);
  assert.match(stdout, /PyTorch and TRL are NOT measured/);
  const { steps, round, peak } = JSON.parse(await readFile(json, 'utf8')).models[0];
  assert.ok(peak.best > 0);
  assert.deepEqual([steps.pairs, round.train, round.heldOut], [2, 3, 1]);
  for (const { peer, ...figures } of [...steps.results, ...round.results]) {
    assert.equal(peer, 'attune');
    assert.ok(figures.peakMiB > 0);
  }
  assert.equal(round.results[0].lossBefore, Math.fround(Math.log(2)));
});

test('rejects unknown parts, peers and counts by name', async () => {
  const errorOf = (args: string[]) =>
    run(process.execPath, [TRAIN, ...args]).then(
      () => assert.fail('it ran'),
      ({ stderr }: { stderr: string }) => stderr,
    );
  assert.match(await errorOf(['--parts', 'steps,epochs']), /Unknown name epochs; use peak, steps, round/);
  assert.match(await errorOf(['--peers', 'jax']), /Unknown name jax/);
  assert.match(await errorOf(['--pairs', '0']), /0 is not a positive integer/);
});
