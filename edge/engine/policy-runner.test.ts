import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import {
  generateChoice,
  makeInput,
  makeWithInference,
  NO_EOS,
  RecordingInstrumentation,
} from '../../testing/inference.ts';
import { collectChoices, makeSampling, makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import type { Inference, LoadedPolicy } from './inference.ts';

const root = await makeTempFolder();
after(root.remove);
const withInference = makeWithInference(root.path);
await writeTinyPackage(join(root.path, 'tiny'), { seed: 1 });

const getWorker = (policy: LoadedPolicy) => (policy as unknown as { worker: { worker: Worker } | null }).worker;

/** Makes the worker throw an uncaught error between two of its steps. */
function crashWorker(policy: LoadedPolicy): void {
  getWorker(policy)!.worker.postMessage({ type: 'nonsense' });
}

async function timeUntil(condition: () => boolean): Promise<number> {
  const startedAt = performance.now();
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
  return performance.now() - startedAt;
}

test('when the worker crashes, running generations fail with a retryable 503, and succeed when retried', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.getActivePolicy()!;
    const texts = ['Once', 'One day', 'The', 'a'];
    const before = await Promise.all(texts.map((text) => generateChoice(policy, text, NO_EOS)));
    const old = getWorker(policy);
    const running = texts.map((text) => generateChoice(policy, text, NO_EOS));
    // By its first token all of them have started.
    for await (const _ of policy.generate(makeInput(policy, 'b', NO_EOS))) break;
    crashWorker(policy);
    for (const generation of running) {
      await assert.rejects(generation, {
        name: 'AttuneError',
        status: 503,
        code: 'policy_interrupted',
        retry: true,
      });
    }
    assert.deepEqual(await Promise.all(texts.map((text) => generateChoice(policy, text, NO_EOS))), before);
    assert.notEqual(getWorker(policy), old);
  });
});

test('a crashed worker restarts automatically, with a longer delay each time', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.getActivePolicy()!;
    const delaysMs: number[] = [];
    for (let crash = 1; crash <= 3; crash++) {
      const crashed = getWorker(policy);
      crashWorker(policy);
      await timeUntil(() => getWorker(policy) !== crashed);
      assert.equal(getWorker(policy), null);
      delaysMs.push(await timeUntil(() => getWorker(policy) !== null));
    }
    for (const [i, minMs] of [100, 200, 400].entries()) {
      // A timer may be early by less than a millisecond.
      assert.ok(delaysMs[i]! >= minMs - 2, `restart ${i + 1} after ${delaysMs[i]} ms`);
    }
    assert.equal((await generateChoice(policy, 'Once', NO_EOS)).finishReason, 'length');
  });
});

test('close does not wait for a pending restart', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.getActivePolicy()!;
    crashWorker(policy);
    await timeUntil(() => getWorker(policy) === null);
    const waiting = generateChoice(policy, 'Once', NO_EOS);
    await inference.close();
    assert.equal((await waiting).finishReason, 'cancelled');
    assert.equal(getWorker(policy), null);
  });
});

test('a choice ends where the context or KV_MEMORY ends', async () => {
  const run = async (inference: Inference, length: number, tokens: number) => {
    const policy = inference.getActivePolicy()!;
    const promptIds = new Array<number>(length).fill(40);
    const [choice] = await collectChoices(policy.generate({ promptIds, sampling: makeSampling(NO_EOS), n: 1 }));
    assert.deepEqual([choice!.finish.tokenIds.length, choice!.finish.finishReason], [tokens, 'length']);
  };
  await withInference('tiny', (inference) => run(inference, 127, 1));
  // At 256 bytes per position 64 positions fit, of which the last stays free.
  await withInference('tiny', (inference) => run(inference, 60, 3), { kvMemoryBytes: 20_000 });
});

test('records every step, token, finish and swap', async () => {
  const recording = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const policy = inference.getActivePolicy()!;
    const sampling = { ...NO_EOS, maxTokens: 10 };
    const input = makeInput(policy, 'Once upon a time', sampling, { n: 3 });
    const size = input.promptIds.length;
    await collectChoices(policy.generate(input));
    assert.deepEqual([recording.swaps, recording.rejectedPolicies], [['tiny'], []]);
    assert.deepEqual([recording.sum('prefilledTokens'), recording.sum('cachedTokens')], [size, 2 * size]);
    assert.equal(recording.sum('decodedSequences'), 27, 'the prefill samples the first token of each choice');
    assert.deepEqual(
      [recording.queueTimes.length, recording.firstTokens.length, recording.tokenGaps.length],
      [3, 3, 27],
    );
    assert.ok(
      [...recording.queueTimes, ...recording.firstTokens, ...recording.tokenGaps].every((seconds) => seconds >= 0),
    );
    assert.deepEqual(
      recording.finishes.map(({ seconds: _, ...end }) => end),
      new Array(3).fill({ reason: 'length', promptTokens: size, generatedTokens: 10 }),
    );
    const last = recording.steps.at(-1)!;
    assert.deepEqual([last.policyId, last.running, last.waiting, last.kvBudgetBytes], ['tiny', 0, 0, 2 ** 30]);

    const abort = new AbortController();
    const cancelled = policy.generate(makeInput(policy, 'One day', NO_EOS), abort.signal);
    abort.abort();
    await collectChoices(cancelled);
    const failed = generateChoice(policy, 'One day', NO_EOS);
    crashWorker(policy);
    await assert.rejects(failed);
    assert.deepEqual(
      recording.finishes.slice(3).map(({ reason }) => reason),
      ['cancelled', 'error'],
    );
  };
  await withInference('tiny', run, { instrumentation: recording });
});

test('prefills a prompt once for both sides of a comparison and for repeats, and a shared prefix once', async () => {
  const recording = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const policy = inference.getActivePolicy()!;
    const system = 'She was a day upon a time. '.repeat(2);
    const generate = (text: string, seed: number) => {
      const input = makeInput(policy, system + text, { ...NO_EOS, maxTokens: 4, seed });
      return collectChoices(policy.generate({ ...input, sharedLengths: [policy.tokenizer.encode(system).length - 1] }));
    };
    const countTokens = (text: string) => policy.tokenizer.encode(system + text).length;
    await Promise.all([generate('Once', 1), generate('Once', 2)]);
    assert.equal(recording.sum('prefilledTokens'), countTokens('Once'));
    await generate('Once', 3);
    assert.equal(recording.sum('prefilledTokens'), countTokens('Once'));
    await generate('The', 4);
    const shared = policy.tokenizer.encode(system).length - 1;
    assert.equal(recording.sum('prefilledTokens'), countTokens('Once') + countTokens('The') - shared);
  };
  await withInference('tiny', run, { instrumentation: recording });
});
