import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { AttuneError } from '../../shared/error.ts';
import {
  generateOne,
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

const threadOf = (policy: LoadedPolicy) => (policy as unknown as { worker: { worker: Worker } | null }).worker;

/** Makes the thread throw where nobody catches it, between two of its turns. */
function kill(policy: LoadedPolicy): void {
  threadOf(policy)!.worker.postMessage({ type: 'nonsense' });
}

async function waitFor(isSo: () => boolean): Promise<number> {
  const began = performance.now();
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
  return performance.now() - began;
}

test('when its thread dies in the middle of a batch all that ran fails with 503, to be tried again, and succeeds then', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.active()!;
    const texts = ['Once', 'One day', 'The', 'a'];
    const before = await Promise.all(texts.map((text) => generateOne(policy, text, NO_EOS)));
    const old = threadOf(policy);
    const running = texts.map((text) => generateOne(policy, text, NO_EOS));
    // All of them have begun by then.
    for await (const _ of policy.generate(makeInput(policy, 'b', NO_EOS))) break;
    kill(policy);
    for (const generation of running) {
      await assert.rejects(generation, {
        name: 'AttuneError',
        status: 503,
        code: 'policy_interrupted',
        retry: true,
      });
    }
    assert.deepEqual(await Promise.all(texts.map((text) => generateOne(policy, text, NO_EOS))), before);
    assert.notEqual(threadOf(policy), old);
  });
});

test('a thread that dies comes back by itself, later each time', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.active()!;
    const pauses: number[] = [];
    for (let death = 1; death <= 3; death++) {
      const dying = threadOf(policy);
      kill(policy);
      await waitFor(() => threadOf(policy) !== dying);
      assert.equal(threadOf(policy), null);
      pauses.push(await waitFor(() => threadOf(policy) !== null));
    }
    for (const [i, least] of [100, 200, 400].entries()) {
      // A timer may be early by less than a millisecond.
      assert.ok(pauses[i]! >= least - 2, `came back the ${i + 1}th time after ${pauses[i]} ms`);
    }
    assert.equal((await generateOne(policy, 'Once', NO_EOS)).finishReason, 'length');
  });
});

test('closing does not wait for a thread that is to come back', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.active()!;
    kill(policy);
    await waitFor(() => threadOf(policy) === null);
    const waiting = generateOne(policy, 'Once', NO_EOS);
    await inference.close();
    assert.equal((await waiting).finishReason, 'cancelled');
    assert.equal(threadOf(policy), null);
  });
});

test('a prompt that fills the context is refused with both numbers, and one below it gets one token', async () => {
  await withInference('tiny', async (inference) => {
    const policy = inference.active()!;
    const long = { promptIds: new Array<number>(128).fill(40), sampling: makeSampling(NO_EOS), n: 1 };
    assert.throws(
      () => policy.generate(long),
      (error: AttuneError) =>
        error.status === 400 &&
        error.code === 'context_length_exceeded' &&
        error.param === 'messages' &&
        /128 tokens.*context of 128/.test(error.message),
    );
    const [choice] = await collectChoices(policy.generate({ ...long, promptIds: long.promptIds.slice(1) }));
    assert.deepEqual([choice!.finish.tokenIds.length, choice!.finish.finishReason], [1, 'length']);
  });
});

test('a prompt that the memory for keys and values can never hold is refused with the setting and what fits', async () => {
  // 256 bytes a position: 64 positions fit, the last of which stays empty.
  const run = async (inference: Inference) => {
    const policy = inference.active()!;
    const ask = (length: number) => ({
      promptIds: new Array<number>(length).fill(40),
      sampling: makeSampling(NO_EOS),
      n: 1,
    });
    assert.throws(
      () => policy.generate(ask(63)),
      (error: AttuneError) =>
        error.status === 400 &&
        error.param === 'messages' &&
        error.code === 'kv_memory_exceeded' &&
        /63 tokens.*KV_MEMORY of 20000 bytes holds 63 tokens/.test(error.message),
    );
    const [choice] = await collectChoices(policy.generate(ask(60)));
    assert.deepEqual([choice!.finish.finishReason, choice!.finish.tokenIds.length], ['length', 3]);
  };
  await withInference('tiny', run, { kvMemory: 20_000 });
});

test('the meter is told of every turn, token, end and swap', async () => {
  const record = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const policy = inference.active()!;
    const sampling = { ...NO_EOS, maxTokens: 10 };
    const input = makeInput(policy, 'Once upon a time', sampling, { n: 3 });
    const size = input.promptIds.length;
    await collectChoices(policy.generate(input));
    assert.deepEqual([record.swaps, record.refusals], [['tiny'], []]);
    assert.deepEqual([record.sum('prefilledTokens'), record.sum('cachedTokens')], [size, 2 * size]);
    assert.equal(record.sum('decodedSequences'), 27, 'each choice has its first token from its prompt');
    assert.deepEqual([record.waits.length, record.firstTokens.length, record.gaps.length], [3, 3, 27]);
    assert.ok([...record.waits, ...record.firstTokens, ...record.gaps].every((seconds) => seconds >= 0));
    assert.deepEqual(
      record.ends.map(({ seconds: _, ...end }) => end),
      new Array(3).fill({ reason: 'length', promptTokens: size, generatedTokens: 10 }),
    );
    const last = record.steps.at(-1)!;
    assert.deepEqual([last.policyId, last.running, last.waiting, last.kvBudgetBytes], ['tiny', 0, 0, 2 ** 30]);

    const abort = new AbortController();
    const cancelled = policy.generate(makeInput(policy, 'One day', NO_EOS), abort.signal);
    abort.abort();
    await collectChoices(cancelled);
    const failed = generateOne(policy, 'One day', NO_EOS);
    kill(policy);
    await assert.rejects(failed);
    assert.deepEqual(
      record.ends.slice(3).map(({ reason }) => reason),
      ['cancelled', 'error'],
    );
  };
  await withInference('tiny', run, { instrumentation: record });
});

test('both sides of a comparison, a repeated prompt and a shared beginning are computed once', async () => {
  const record = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const policy = inference.active()!;
    const system = 'She was a day upon a time. '.repeat(2);
    const ask = (text: string, seed: number) => {
      const input = makeInput(policy, system + text, { ...NO_EOS, maxTokens: 4, seed });
      return collectChoices(policy.generate({ ...input, sharedLength: policy.tokenizer.encode(system).length - 1 }));
    };
    const sizeOf = (text: string) => policy.tokenizer.encode(system + text).length;
    await Promise.all([ask('Once', 1), ask('Once', 2)]);
    assert.equal(record.sum('prefilledTokens'), sizeOf('Once'));
    await ask('Once', 3);
    assert.equal(record.sum('prefilledTokens'), sizeOf('Once'));
    await ask('The', 4);
    const shared = policy.tokenizer.encode(system).length - 1;
    assert.equal(record.sum('prefilledTokens'), sizeOf('Once') + sizeOf('The') - shared);
  };
  await withInference('tiny', run, { instrumentation: record });
});
