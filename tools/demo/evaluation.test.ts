import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './client.ts';
import { quickConfig } from './config.ts';
import { compareTexts, generateContinuations } from './evaluation.ts';

/** A client whose completions echo the prompt after `delay(prompt)` ms. */
function echoClient(delay: (prompt: string) => Promise<void>): Client {
  return {
    url: '',
    get: async () => assert.fail('no GET expected'),
    async post<T>(_: string, body: object) {
      const { model, prompt } = body as { model: string; prompt: string };
      await delay(prompt);
      return { model, choices: [{ text: `${prompt}!` }], usage: { completion_tokens: 2 } } as T;
    },
    events: () => assert.fail('no events expected'),
  };
}

const config = { ...quickConfig, concurrency: 1 };

test('continuations keep the order of the prompts, with at most twice `concurrency` requests in flight', async () => {
  let inFlight = 0;
  let maxInFlight = 0;
  const client = echoClient(async (prompt) => {
    maxInFlight = Math.max(maxInFlight, ++inFlight);
    await sleep(Number(prompt));
    inFlight--;
  });
  let reported = 0;
  const { texts, tokens } = await generateContinuations(client, 'pol_a', ['5', '1', '3', '2', '4'], config, 1, () => {
    reported++;
  });
  assert.deepEqual(texts, ['5!', '1!', '3!', '2!', '4!']);
  assert.equal(maxInFlight, 2);
  assert.deepEqual([tokens, reported], [10, 5]);
});

test('no request starts after one has failed', async () => {
  const started: string[] = [];
  const client = echoClient(async (prompt) => {
    started.push(prompt);
    await sleep(1);
    if (prompt === '1') throw new Error('prompt 1 failed');
  });
  const prompts = ['0', '1', '2', '3', '4', '5'];
  await assert.rejects(
    generateContinuations(client, 'pol_a', prompts, config, 1, () => {}),
    /prompt 1 failed/,
  );
  await sleep(10);
  assert.ok(!started.includes('5'), `started ${started}`);
});

test('counts wins, ties and losses prompt by prompt, with a tie as half a win', () => {
  const winRate = compareTexts(['happy', 'sad', 'cat', 'glad'], ['sad', 'happy', 'dog', 'cat']);
  assert.deepEqual([winRate.wins, winRate.ties, winRate.losses], [2, 1, 1]);
  assert.equal(winRate.rate, 0.625);
  assert.equal(winRate.score, 0.25);
  assert.ok(winRate.low < winRate.rate && winRate.rate < winRate.high);
});

test('the win rate of a policy against its own texts is 50%', () => {
  const texts = ['happy', 'sad', 'cat'];
  assert.equal(compareTexts(texts, texts).rate, 0.5);
});
