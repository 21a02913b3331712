import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { hashFiles, writeManifest } from '../../shared/package/files.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import {
  generateChoice,
  makeInput,
  makeWithInference,
  NO_EOS,
  openTestInference,
  RecordingInstrumentation,
} from '../../testing/inference.ts';
import { collectChoices, makeTempFolder, writeStoriesPackage, writeTinyPackage } from '../../testing/policy-package.ts';
import { makeManifest } from '../../testing/store-package.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { FinishEvent, Inference, LoadedPolicy } from './inference.ts';

const root = await makeTempFolder();
after(root.remove);
await writeStoriesPackage(join(root.path, 'stories'));
for (const seed of [1, 2, 3, 4]) await writeTinyPackage(join(root.path, `tiny-${seed}`), { seed });

const withInference = makeWithInference(root.path);

test('stories15M generates the expected tokens', async () => {
  await withInference('stories', async (inference) => {
    const policy = inference.getActivePolicy()!;
    const { finish } = (
      await collectChoices(policy.generate(makeInput(policy, 'Once upon a time', { maxTokens: 24 })))
    )[0]!;
    assert.deepEqual(policy.tokenizer.encode('Once upon a time'), [1, 9038, 2501, 263, 931]);
    assert.deepEqual(
      finish.tokenIds,
      [
        29892, 727, 471, 263, 2217, 7826, 4257, 365, 2354, 29889, 2296, 18012, 304, 1708, 5377, 297, 278, 6575, 845,
        457, 29889, 3118, 2462, 29892,
      ],
    );
    const story = ', there was a little girl named Lily. She loved to play outside in the sunshine. One day,';
    assert.equal(finish.text, story);
    assert.equal(finish.finishReason, 'length');
    assert.equal(finish.logprobs.length, 24);
  });
});

test('choices stream interleaved, each with its own seed, and their token texts add up', async () => {
  await withInference('stories', async (inference) => {
    const policy = inference.getActivePolicy()!;
    const sampling = { temperature: 1, seed: 5, maxTokens: 20, topLogprobs: 2 };
    const three = await collectChoices(policy.generate(makeInput(policy, 'Once upon a time', sampling, { n: 3 })));
    const again = await collectChoices(policy.generate(makeInput(policy, 'Once upon a time', sampling, { n: 3 })));
    assert.deepEqual(again, three);
    assert.equal(new Set(three.map(({ finish }) => finish.text)).size, 3);
    for (const { tokens, finish } of three) {
      assert.ok(finish.text.startsWith(tokens.map(({ text }) => text).join('')));
      assert.deepEqual(
        tokens.map(({ tokenId }) => tokenId),
        finish.tokenIds,
      );
      assert.ok(tokens.every(({ topLogprobs: [first, second] }) => first!.logprob >= second!.logprob));
    }
  });
});

test('a stop string across tokens is cut from the text, and its tokens are reported', async () => {
  await withInference('stories', async (inference) => {
    const policy = inference.getActivePolicy()!;
    const {
      text,
      finishReason: reason,
      stop,
      tokenIds,
    } = await generateChoice(policy, 'Once upon a time', {
      maxTokens: 100,
      stop: ['named Lily. S', 'never'],
    });
    assert.equal(text, ', there was a little girl ');
    assert.deepEqual([reason, stop], ['stop', null]);
    assert.equal(policy.tokenizer.decodeContinuation([931], tokenIds), ', there was a little girl named Lily. She');
  });
});

test('reports the end-of-sequence token that stopped a choice, separately from its tokens', async () => {
  await withInference('stories', async (inference) => {
    const {
      finishReason: reason,
      stop,
      tokenIds,
    } = await generateChoice(inference.getActivePolicy()!, 'Once upon a time', {
      maxTokens: 250,
      logitBias: { 29889: -100, 1: 14 },
    });
    assert.deepEqual([reason, stop?.tokenId], ['stop', 1]);
    assert.ok(!tokenIds.includes(1));
  });
});

test('aborting keeps the tokens so far, leaving the iteration frees the row, and others continue', async () => {
  const run = async (inference: Inference) => {
    const policy = inference.getActivePolicy()!;
    const abort = new AbortController();
    let received = 0;
    let last: FinishEvent | undefined;
    const other = generateChoice(policy, 'One day', NO_EOS);
    for await (const event of policy.generate(makeInput(policy, 'Once', NO_EOS), abort.signal)) {
      if (event.type === 'finish') last = event;
      else if (++received === 3) abort.abort();
    }
    assert.equal(last!.finishReason, 'cancelled');
    assert.ok(last!.tokenIds.length >= 3 && last!.tokenIds.length < 90);
    for await (const _ of policy.generate(makeInput(policy, 'Once', NO_EOS))) break;
    assert.equal((await other).tokenIds.length, 100);
    // Both of the two rows are free again: another pair runs.
    const pair = await Promise.all([generateChoice(policy, 'a', NO_EOS), generateChoice(policy, 'b', NO_EOS)]);
    assert.ok(pair.every(({ tokenIds }) => tokenIds.length === 100));
    const [never] = await collectChoices(policy.generate(makeInput(policy, 'a', NO_EOS), AbortSignal.abort()));
    assert.deepEqual([never!.finish.finishReason, never!.finish.tokenIds], ['cancelled', []]);
  };
  await withInference('tiny-1', run, { maxRows: 2 });
});

test('a full queue rejects requests, and accepts them again when there is room', async () => {
  const run = async (inference: Inference) => {
    const policy = inference.getActivePolicy()!;
    const accepted = [1, 2, 3].map(() => generateChoice(policy, 'Once', NO_EOS));
    assert.throws(
      () => policy.generate(makeInput(policy, 'Once', NO_EOS)),
      (error: AttuneError) => error.status === 429 && error.code === 'queue_full' && error.retry,
    );
    await Promise.all(accepted);
    assert.equal((await generateChoice(policy, 'Once', NO_EOS)).finishReason, 'length');
  };
  await withInference('tiny-1', run, { maxRows: 1, maxQueue: 2 });
});

test('three swaps during eight streams fail none of them and mix no policies', async () => {
  const alone = new Map<string, string>();
  for (const id of ['tiny-1', 'tiny-2', 'tiny-3', 'tiny-4']) {
    await withInference(id, async (inference) => {
      alone.set((await generateChoice(inference.getActivePolicy()!, 'Once upon a time', NO_EOS)).tokenIds.join(), id);
    });
  }
  assert.equal(alone.size, 4);
  await withInference('tiny-1', async (inference) => {
    let isSwapping = true;
    const served: string[] = [];
    const streams = Array.from({ length: 8 }, async () => {
      let last = false;
      while (!last) {
        last = !isSwapping;
        const policy = inference.getActivePolicy()!;
        // A server awaits its database between selecting a policy and using it.
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
        const { tokenIds } = await generateChoice(policy, 'Once upon a time', NO_EOS);
        assert.equal(alone.get(tokenIds.join()), policy.id);
        served.push(policy.id);
      }
    });
    for (const id of ['tiny-2', 'tiny-3', 'tiny-4']) {
      await inference.activate(id);
      assert.equal(inference.getActivePolicy()!.id, id);
      while (!served.includes(id)) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    isSwapping = false;
    await Promise.all(streams);
    assert.deepEqual([...new Set(served)].sort(), ['tiny-1', 'tiny-2', 'tiny-3', 'tiny-4']);
  });
});

test('a swap back to the policy before loads nothing and finds its prefixes; an older one is loaded again', async () => {
  const instrumentation = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const first = inference.getActivePolicy()!;
    const prompt = 'Once upon a time there was a little girl';
    const generate = (policy: LoadedPolicy) => generateChoice(policy, prompt, { maxTokens: 4 });
    const before = await generate(first);
    await inference.activate('tiny-2');
    assert.equal(await inference.getPolicy('tiny-1'), first);
    assert.ok(inference.listInUse().includes('tiny-1'));
    await inference.activate('tiny-1');
    assert.equal(inference.getActivePolicy(), first);
    const steps = instrumentation.steps.length;
    assert.deepEqual(await generate(first), before);
    const again = instrumentation.steps.slice(steps);
    assert.equal(
      again.reduce((sum, { prefilledTokens }) => sum + prefilledTokens, 0),
      0,
    );
    assert.ok(again.some(({ cachedTokens }) => cachedTokens > 0));
    await inference.activate('tiny-3');
    await inference.activate('tiny-4');
    await waitUntil(async () => inference.listInUse().toSorted().join() === 'tiny-3,tiny-4');
    await inference.activate('tiny-1');
    assert.notEqual(inference.getActivePolicy(), first);
  };
  await withInference('tiny-1', run, { instrumentation });
});

test('a candidate that is promoted while its canary ends stays loaded', async () => {
  await withInference('tiny-1', async (inference) => {
    await inference.setCandidate('tiny-2');
    const candidate = inference.getCandidate();
    await Promise.all([inference.activate('tiny-2'), inference.setCandidate(null)]);
    assert.equal(inference.getActivePolicy(), candidate);
    assert.equal(inference.getCandidate(), null);
    // A policy that was retired is in use once more, until it has drained.
    assert.deepEqual(inference.listInUse().toSorted(), ['tiny-1', 'tiny-2']);
    assert.equal((await generateChoice(inference.getActivePolicy()!, 'Once', NO_EOS)).finishReason, 'length');
  });
});

test('an unknown policy is a 404, and the active policy keeps serving', async () => {
  await withInference('tiny-1', async (inference) => {
    await assert.rejects(inference.activate('unknown'), { code: 'model_not_found', status: 404, param: 'model' });
    await assert.rejects(inference.getPolicy('unknown'), { code: 'model_not_found', status: 404, param: 'model' });
    assert.equal(inference.getActivePolicy()!.id, 'tiny-1');
    assert.equal((await generateChoice(inference.getActivePolicy()!, 'Once', NO_EOS)).finishReason, 'length');
  });
});

test('gets policies by id and by alias, and an evicted policy still generates', async () => {
  await withInference(null, async (inference) => {
    assert.equal(inference.getActivePolicy(), null);
    await assert.rejects(inference.getPolicy(), { status: 503 });
    await inference.activate('tiny-1');
    assert.equal(await inference.getPolicy('attune'), inference.getActivePolicy());
    assert.equal(await inference.getPolicy('tiny-1'), inference.getActivePolicy());
    const second = await inference.getPolicy('tiny-2');
    assert.equal(await inference.getPolicy('tiny-2'), second);
    assert.equal(second.tokenizer, inference.getActivePolicy()!.tokenizer, 'equal tokenizers are one object');
    const before = await generateChoice(second, 'Once', NO_EOS);
    for (const id of ['tiny-3', 'tiny-4', 'stories']) await inference.getPolicy(id);
    assert.notEqual(await inference.getPolicy('tiny-2'), second);
    // The evicted policy still generates: it starts a new worker.
    assert.deepEqual(await generateChoice(second, 'Once', NO_EOS), before);
    assert.equal(inference.getActivePolicy()!.id, 'tiny-1');
  });
});

test('close cancels running generations', async () => {
  const inference = openTestInference(root.path);
  await inference.activate('tiny-1');
  const policy = inference.getActivePolicy()!;
  const running = generateChoice(policy, 'Once', NO_EOS);
  await inference.close();
  assert.equal((await running).finishReason, 'cancelled');
  assert.throws(() => policy.generate(makeInput(policy, 'Once', NO_EOS)), { name: 'AttuneError', status: 503 });
  await assert.rejects(inference.getPolicy('tiny-2'), AttuneError);
});

test('a policy is scored at float32 whatever it is served at, from an older package too', async () => {
  // Without score.onnx.
  const older = join(root.path, 'older');
  await writeTinyPackage(older, { seed: 1, precision: 'row8' });
  const { hash } = await Tokenizer.open(older);
  const serving = { precision: 'row8' as const, accuracy: {} };
  await writeManifest(older, makeManifest({ serving, tokenizer_hash: hash, files: await hashFiles(older) }));
  await withInference(null, async (inference) => {
    const response = [40, 41, 42, 43, 44, 45, 46, 47];
    const score = async (policy: LoadedPolicy) => {
      const [choice] = await collectChoices(policy.generate(makeInput(policy, 'Once', { maxTokens: 8 }, { response })));
      assert.deepEqual(choice!.finish.tokenIds, response);
      return choice!.finish.logprobs;
    };
    const exact = await score(await inference.getPolicy('tiny-1'));
    const isClose = (logprobs: number[]) => logprobs.every((logprob, at) => Math.abs(logprob - exact[at]!) < 1e-4);
    assert.equal(await inference.getScorer('tiny-1'), await inference.getPolicy('tiny-1'));
    assert.ok(isClose(await score(await inference.getScorer('older'))));
    assert.ok(!isClose(await score(await inference.getPolicy('older'))));
    assert.ok(inference.listInUse().includes('older'));
  });
});
