import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { LOGITS_FILE, measureAccuracy, pool, SEQUENCES_FILE } from './accuracy.ts';
import type { Sequence } from './accuracy-text.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'attune-accuracy-'));
  const sequences: Sequence[] = [
    { text: 'own', promptIds: [5, 6], responseIds: [0, 1] },
    { text: 'real', promptIds: [7], responseIds: [1] },
  ];
  await writeFile(path.join(folder, SEQUENCES_FILE), JSON.stringify(sequences));
  // Probabilities 0.8 and 0.2, 0.5 and 0.5, 0.5 and 0.5.
  await writeFile(path.join(folder, LOGITS_FILE), Float32Array.of(Math.log(4), 0, 1, 1, -2, -2));
});
after(() => rm(folder, { recursive: true }));

const measure = async (rows: number[][]) => {
  const fed: number[][][] = [];
  const left = [...rows];
  const accuracy = await measureAccuracy(folder, async (maxLength) => {
    assert.equal(maxLength, 4);
    return {
      async startSequence() {
        const sequence: number[][] = [];
        fed.push(sequence);
        return async (tokens) => {
          sequence.push(tokens);
          return Float32Array.from(left.shift()!);
        };
      },
      async close() {},
    };
  });
  return { accuracy, fed };
};

test('a peer is fed the prompt at once and then the response token by token', async () => {
  const { fed } = await measure([
    [0, 0],
    [0, 0],
    [0, 0],
  ]);
  assert.deepEqual(fed, [[[5, 6], [0]], [[7]]]);
});

test('KL, agreement and perplexity are means over the tokens of each text', async () => {
  const { accuracy } = await measure([
    [0, 0],
    [3, 3],
    [0, Math.log(3)],
  ]);
  const round = (values: object) =>
    JSON.parse(JSON.stringify(values), (_, v) => (typeof v === 'number' ? +v.toFixed(6) : v));
  // KL of (0.8, 0.2) from (0.5, 0.5), and of two equal distributions.
  const kl = (0.8 * Math.log(0.8 / 0.5) + 0.2 * Math.log(0.2 / 0.5)) / 2;
  assert.deepEqual(
    round(accuracy.own),
    round({ tokens: 2, kl, greedyAgreement: 1, perplexity: 2, referencePerplexity: Math.sqrt(1 / (0.8 * 0.5)) }),
  );
  const other = 0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75);
  assert.deepEqual(
    round(accuracy.real),
    round({ tokens: 1, kl: other, greedyAgreement: 0, perplexity: 4 / 3, referencePerplexity: 2 }),
  );
  assert.deepEqual(
    round(pool(accuracy)),
    round({
      tokens: 3,
      kl: (2 * kl + other) / 3,
      greedyAgreement: 2 / 3,
      perplexity: (2 * 2 * (4 / 3)) ** (1 / 3),
      referencePerplexity: (2 / (0.8 * 0.5)) ** (1 / 3),
    }),
  );
});
