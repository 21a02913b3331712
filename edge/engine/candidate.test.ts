import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { generateChoice, makeWithInference, NO_EOS, RecordingInstrumentation } from '../../testing/inference.ts';
import { makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import { waitUntil } from '../../testing/wait-until.ts';

const root = await makeTempFolder();
after(root.remove);
for (const seed of [1, 2, 3]) await writeTinyPackage(join(root.path, `tiny-${seed}`), { seed });

const withInference = makeWithInference(root.path);

test('a candidate is loaded beside the active policy, which keeps serving, and both are found by their ids', async () => {
  await withInference('tiny-1', async (inference) => {
    assert.equal(inference.getCandidate(), null);
    await inference.setCandidate('tiny-2');
    const candidate = inference.getCandidate()!;
    assert.equal(candidate.id, 'tiny-2');
    assert.equal(await inference.getPolicy('tiny-2'), candidate);
    assert.equal((await inference.getPolicy()).id, 'tiny-1');
    await inference.setCandidate('tiny-2');
    assert.equal(inference.getCandidate(), candidate);
    assert.deepEqual(inference.listInUse().toSorted(), ['tiny-1', 'tiny-2']);
  });
});

test('a promotion takes the loaded candidate, and what it generates goes on', async () => {
  await withInference('tiny-1', async (inference) => {
    await inference.setCandidate('tiny-2');
    const candidate = inference.getCandidate()!;
    const generating = generateChoice(candidate, 'Once upon a time', NO_EOS);
    await inference.activate('tiny-2');
    assert.equal(inference.getActivePolicy(), candidate);
    assert.equal(inference.getCandidate(), null);
    assert.equal((await generating).finishReason, 'length');
    await inference.setCandidate(null);
    assert.equal(inference.getActivePolicy(), candidate);
    assert.equal((await generateChoice(candidate, 'Once', NO_EOS)).finishReason, 'length');
  });
});

test('a candidate that is dropped is unloaded when what it generates has ended', async () => {
  await withInference('tiny-1', async (inference) => {
    await inference.setCandidate('tiny-2');
    const generating = generateChoice(inference.getCandidate()!, 'Once upon a time', NO_EOS);
    await inference.setCandidate(null);
    assert.equal(inference.getCandidate(), null);
    assert.equal((await generating).finishReason, 'length');
    await waitUntil(() => inference.listInUse().join() === 'tiny-1');
  });
});

test('a policy that loads as the candidate and is activated meanwhile is only the active one', async () => {
  await withInference('tiny-1', async (inference) => {
    await Promise.all([inference.setCandidate('tiny-2'), inference.activate('tiny-2')]);
    assert.equal(inference.getActivePolicy()!.id, 'tiny-2');
    assert.equal(inference.getCandidate(), null);
    await Promise.all([inference.activate('tiny-3'), inference.setCandidate('tiny-3')]);
    assert.equal(inference.getActivePolicy()!.id, 'tiny-3');
    await inference.setCandidate(null);
    assert.equal((await generateChoice(inference.getActivePolicy()!, 'Once', NO_EOS)).finishReason, 'length');
  });
});

test('a candidate that cannot be loaded changes nothing and is counted, and it can be tried again', async () => {
  const instrumentation = new RecordingInstrumentation();
  await withInference(
    'tiny-1',
    async (inference) => {
      await inference.setCandidate('tiny-2');
      await assert.rejects(inference.setCandidate('unknown'), { code: 'model_not_found' });
      assert.deepEqual(instrumentation.rejectedPolicies, ['unknown']);
      assert.equal(inference.getActivePolicy()!.id, 'tiny-1');
      assert.equal(inference.getCandidate(), null);
      await inference.setCandidate('tiny-3');
      assert.equal(inference.getCandidate()!.id, 'tiny-3');
    },
    { instrumentation },
  );
});

test('the policy that was active before is a candidate at once, and a swap to a third one leaves it', async () => {
  await withInference('tiny-1', async (inference) => {
    const first = inference.getActivePolicy();
    await inference.activate('tiny-2');
    await inference.setCandidate('tiny-1');
    assert.equal(inference.getCandidate(), first);
    await inference.activate('tiny-3');
    assert.equal(inference.getCandidate(), first);
  });
});
