import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import type { Engine, Sequence } from '../../trainer/engine/engine.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import { estimateKl } from './kl.ts';

// Six tokens, where token 2 ends a response: all responses of at most three tokens can be enumerated.
const architecture = tinyArchitecture({ vocabSize: 6, contextLength: 32 });
const PROMPT = [1, 4];
const MAX_TOKENS = 3;

async function withEngines(seeds: [number, number], work: (engines: [Engine, Engine]) => Promise<void>) {
  const open = (seed: number) =>
    openEngine({ architecture, weights: tinyWeights(architecture, seed), objective: {}, threads: 1 });
  const engines: [Engine, Engine] = [await open(seeds[0]), await open(seeds[1])];
  try {
    await work(engines);
  } finally {
    for (const engine of engines) await engine.close();
  }
}

function listResponses(prefix: number[] = []): number[][] {
  if (prefix.at(-1) === 2 || prefix.length === MAX_TOKENS) return [prefix];
  return [0, 1, 2, 3, 4, 5].flatMap((id) => listResponses([...prefix, id]));
}

test('the estimate matches the exact KL over all responses within its standard error', async () => {
  await withEngines([1, 2], async ([policy, reference]) => {
    const all: Sequence[] = listResponses().map((responseIds) => ({ promptIds: PROMPT, responseIds }));
    const logpOf = (logps: Float32Array) => logps.reduce((sum, logp) => sum + logp, 0);
    const [own, other] = [(await policy.score(all)).map(logpOf), (await reference.score(all)).map(logpOf)];
    const exact = own.reduce((sum, logp, i) => sum + Math.exp(logp) * (logp - other[i]!), 0);

    const prompts = Array.from({ length: 800 }, () => PROMPT);
    const { kl, error, samples } = await estimateKl(policy, reference, architecture, prompts, {
      maxTokens: MAX_TOKENS,
      seed: 1,
    });
    assert.equal(samples, 800);
    assert.ok(error < 0.1 * exact, `${error} is a large error for ${exact}`);
    assert.ok(Math.abs(kl - exact) < 4 * error, `${kl} ± ${error} is not ${exact}`);
  });
});

test('the KL of a policy to itself is 0', async () => {
  await withEngines([1, 1], async ([policy, reference]) => {
    const estimate = await estimateKl(policy, reference, architecture, [PROMPT, [3]], { maxTokens: 8, seed: 1 });
    assert.ok(Math.abs(estimate.kl) < 1e-6, `${estimate.kl}`);
  });
});
