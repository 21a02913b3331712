// Policies in a real workerd generate what Node's engine generates, and unsupported policies are rejected with a reason.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { openR2Store } from '../../shared/store/r2.ts';
import { makeSampling } from '../../testing/policy-package.ts';
import {
  createPackage,
  generateInWorker,
  generateOnNode,
  openWorkerFixture,
  type Package,
  uploadPolicy,
  type WorkerFixture,
} from '../../testing/worker-policies.ts';
import type { GenerationInput } from '../engine/inference.ts';

/** Half of the context, so that it is prefilled in two chunks. */
const LONG = Array.from({ length: 150 }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919) % 330)));
const SHORT = [1, 5, 70, 300];

const isolate = await openWorkerFixture();

/** One as large as llama2.c's smallest model, a tiny one of a family with other operators, and one with Llama's vocabulary. */
const packages: Record<string, Package> = {
  'a Llama of 260K parameters': await createPackage({
    hiddenSize: 64,
    intermediateSize: 172,
    layers: 5,
    heads: 8,
    kvHeads: 4,
    vocabSize: 512,
    contextLength: 512,
    seed: 3,
  }),
  'a tiny GPT-2': await createPackage({ family: 'gpt2', contextLength: 256, seed: 2 }),
  'a vocabulary of 32,000 tokens': await createPackage({ vocabSize: 32_000, contextLength: 256, seed: 4 }),
};

for (const policy of Object.values(packages)) await uploadPolicy(isolate, policy);

for (const [name, policy] of Object.entries(packages)) {
  test(`${name} decodes greedily to Node’s ids and log-probabilities`, async () => {
    await assertSame(policy, [
      makeInput({ maxTokens: 60, topLogprobs: 5 }),
      makeInput({ maxTokens: 40 }, { promptIds: LONG, sharedLengths: [60] }),
    ]);
  });

  test(`${name} samples Node’s ids for every seed and choice`, async () => {
    await assertSame(policy, [
      makeInput({ temperature: 1, seed: 7, maxTokens: 40 }, { n: 4 }),
      makeInput({ temperature: 0.7, topP: 0.9, topK: 40, minP: 0.01, seed: 8, maxTokens: 40 }),
      makeInput({ temperature: 1, frequencyPenalty: 1, presencePenalty: 1, logitBias: { 9: 4, 2: -100 }, seed: 9 }),
    ]);
  });
}

test('a stop string ends a generation where it does on Node', async () => {
  const policy = packages['a tiny GPT-2']!;
  const [[whole]] = (await generateOnNode(policy, [makeInput({ maxTokens: 30, temperature: 1, seed: 4 })])) as [
    [Choice],
  ];
  const stop = [whole.finish.text.slice(5, 8)];
  const [[stopped]] = (await assertSame(policy, [makeInput({ maxTokens: 30, temperature: 1, seed: 4, stop })])) as [
    [Choice],
  ];
  assert.equal(stopped.finish.finishReason, 'stop');
  assert.equal(stopped.finish.text, whole.finish.text.slice(0, whole.finish.text.indexOf(stop[0]!)));
});

test('concurrent requests for a new policy all get it, and their generations do not affect each other', async () => {
  const policy = await createPackage({ seed: 11 });
  await uploadPolicy(isolate, policy);
  const inputs = Array.from({ length: 8 }, (_, seed) => makeInput({ temperature: 1, seed, maxTokens: 24 }, { n: 2 }));
  const [together, alone] = await Promise.all([
    Promise.all(inputs.map((one) => generateInWorker(isolate, policy, [one, one]))),
    generateOnNode(policy, inputs),
  ]);
  for (const [i, [first, second]] of together.entries()) {
    assert.deepEqual(listTokenIds(first!), listTokenIds(alone[i]!));
    assert.deepEqual(listTokenIds(second!), listTokenIds(alone[i]!));
  }
});

test('a request that ends while it loads a policy does not block the others', { timeout: 60_000 }, async () => {
  const slow = await openWorkerFixture({ limits: { DELAY_MS: 500 } });
  const policy = packages['a tiny GPT-2']!;
  await uploadPolicy(slow, policy);
  const leaving = (await slow.send('/early', { manifest: policy.manifest, inputs: [makeInput()] })).body!.getReader();
  await leaving.read();
  const staying = [makeInput(), makeInput()].map((one) => generateInWorker(slow, policy, [one]));
  await setTimeout(300);
  await leaving.cancel();
  for (const [choices] of await Promise.all(staying)) assert.equal(choices![0]!.finish.tokenIds.length, 16);
});

test('a third and a fourth policy evict the first ones, which load again', async () => {
  const others = [await createPackage({ seed: 21 }), await createPackage({ seed: 22 })];
  for (const policy of others) await uploadPolicy(isolate, policy);
  for (const policy of [...others, ...Object.values(packages)]) await assertSame(policy, [makeInput({ maxTokens: 8 })]);
});

test('generations beyond MAX_ROWS and MAX_QUEUE are rejected, and others are not', async () => {
  const small = await openWorkerFixture({ limits: { MAX_ROWS: 2, MAX_QUEUE: 2 } });
  const policy = packages['a tiny GPT-2']!;
  await uploadPolicy(small, policy);
  const ids = await Promise.all(
    [2, 1, 1].map((n) => generateInWorker(small, policy, [makeInput({ maxTokens: 30 }, { n })])),
  );
  assert.deepEqual(
    ids.map(([choices]) => choices!.length),
    [2, 1, 1],
  );
  const error = await expectError(small, policy, [makeInput({}, { n: 4 }), makeInput()]);
  assert.equal(error.code, 'queue_full');
  assert.match(error.message, /4 generations and scores run or wait, the limit is 4/);
});

/** Limits with which one generation runs and none waits. */
const ONE_GENERATION = { MAX_ROWS: 1, MAX_QUEUE: 0, KV_MEMORY: 2 ** 27 };

for (const [name, flags, maxMs] of [
  ['a disconnected client frees its reservation at once', ['enable_request_signal'], 1000],
  ['a request that ends without an abort signal frees its reservation after a timeout', [], 10_000],
] as const) {
  test(name, { timeout: 60_000 }, async () => {
    const small = await openWorkerFixture({ limits: ONE_GENERATION, flags: [...flags] });
    const policy = await createPackage({ hiddenSize: 128, layers: 4, contextLength: 16384 });
    await uploadPolicy(small, policy);
    const endless = makeInput({ maxTokens: 16000, temperature: 1, logitBias: { 1: -100, 2: -100 } });
    const response = await small.send('/', { manifest: policy.manifest, inputs: [endless] });
    const reader = response.body!.getReader();
    await reader.read();
    assert.equal((await expectError(small, policy, [makeInput()])).code, 'queue_full');
    await reader.cancel();
    const leftMs = performance.now();
    const retry = () => small.send('/', { manifest: policy.manifest, inputs: [makeInput({ maxTokens: 1 })] });
    while ((await retry()).status === 429) await setTimeout(50);
    const waitedMs = performance.now() - leftMs;
    assert.ok(waitedMs < maxMs, `${waitedMs} ms`);
  });
}

test('a policy whose context exceeds KV_MEMORY is unsupported', async () => {
  const small = await openWorkerFixture({ limits: { KV_MEMORY: 2 ** 20 } });
  const policy = await createPackage({ hiddenSize: 128, layers: 4, contextLength: 16384 });
  await uploadPolicy(small, policy);
  const error = await expectError(small, policy, [makeInput()]);
  assert.equal(error.code, 'policy_unsupported');
  assert.match(
    error.message,
    /its context has 16384 tokens, and a Worker's 1048576 bytes of keys and values hold \d+$/,
  );
});

test('a package with a flipped byte is rejected with the name of the damaged file', async () => {
  const policy = await createPackage({ seed: 31 });
  await uploadPolicy(isolate, policy);
  const key = `${policy.manifest.id}/onnx/model.onnx_data`;
  const bytes = new Uint8Array(await (await isolate.bucket.get(key))!.arrayBuffer());
  bytes[100]! ^= 1;
  await isolate.bucket.put(key, bytes);
  const error = await expectError(isolate, policy, [makeInput()]);
  assert.equal(error.code, 'damaged_policy');
  assert.match(error.message, /file onnx\/model\.onnx_data has SHA-256/);
});

test('a package with a missing file is rejected with the name of the file', async () => {
  const policy = await createPackage({ seed: 32 });
  await uploadPolicy(isolate, policy);
  await isolate.bucket.delete(`${policy.manifest.id}/onnx/serve.onnx`);
  const error = await expectError(isolate, policy, [makeInput()]);
  assert.equal(error.code, 'damaged_policy');
  assert.match(error.message, /file onnx\/serve\.onnx is missing/);
  assert.equal(await openR2Store(isolate.bucket).manifest(policy.manifest.id).then(Boolean), true);
});

test('a policy that is too large is rejected with both sizes, and so are one of another precision and a reward', async () => {
  const small = await openWorkerFixture({ limits: { MAX_BYTES: 100_000 } });
  const large = packages['a Llama of 260K parameters']!;
  const { files } = large.manifest;
  const bytes = files['onnx/serve.onnx']!.bytes + files['onnx/model.onnx_data']!.bytes;
  const tooLarge = `its serving graph and weights have ${bytes} bytes, and a Worker computes up to 100000 (WORKER_POLICY_BYTES)`;
  assert.equal(await fetchReason(small, large), tooLarge);
  const error = await expectError(small, large, [makeInput()]);
  assert.equal(error.code, 'policy_unsupported');
  assert.ok(error.message.endsWith(tooLarge));
  assert.match(
    (await fetchReason(isolate, await createPackage({ precision: 'row8' })))!,
    /served at row8, and .* fp32 only/,
  );
  const reward = { ...large, manifest: { ...large.manifest, kind: 'reward' as const } };
  assert.match((await fetchReason(isolate, reward))!, /it is a reward, and a Worker computes policies only/);
  assert.equal(await fetchReason(isolate, large), null);
});

test('when the runtime does not start, its error is the reason from then on', async () => {
  const broken = await openWorkerFixture({ alias: { 'onnxruntime-web/wasm': './broken-onnxruntime.ts' } });
  const policy = packages['a tiny GPT-2']!;
  await uploadPolicy(broken, policy);
  assert.equal(await fetchReason(broken, policy), null);
  for (let time = 0; time < 2; time++) {
    const error = await expectError(broken, policy, [makeInput()]);
    assert.equal(error.code, 'runtime_unavailable');
    assert.match(error.message, /WebAssembly did not start in this Worker: it is broken/);
  }
  assert.match((await fetchReason(broken, policy))!, /did not start/);
});

type Choice = Awaited<ReturnType<typeof generateOnNode>>[number][number];

function makeInput(sampling: Parameters<typeof makeSampling>[0] = {}, given: Partial<GenerationInput> = {}) {
  return { promptIds: SHORT, sampling: makeSampling(sampling), n: 1, ...given };
}

/** Runs the inputs in workerd and on Node, compares them, and returns workerd's. */
async function assertSame(policy: Package, inputs: GenerationInput[]): Promise<Choice[][]> {
  const [actual, expected] = await Promise.all([
    generateInWorker(isolate, policy, inputs),
    generateOnNode(policy, inputs),
  ]);
  for (const [i, choices] of expected.entries()) {
    for (const [index, { tokens, finish }] of choices.entries()) {
      const own = actual[i]![index]!;
      const { logprobs, ...rest } = finish;
      const { logprobs: ownLogprobs, ...ownRest } = own.finish;
      assert.ok(logprobs.length > 0);
      assert.deepEqual(ownRest, rest);
      assertNear(ownLogprobs, logprobs);
      assert.equal(own.tokens.map(({ text }) => text).join(''), tokens.map(({ text }) => text).join(''));
      for (const [at, { topLogprobs }] of tokens.entries()) {
        assert.deepEqual(
          own.tokens[at]!.topLogprobs.map(({ tokenId }) => tokenId),
          topLogprobs.map(({ tokenId }) => tokenId),
        );
      }
    }
  }
  return actual;
}

function assertNear(actual: number[], expected: number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(value - actual[i]!) < 1e-4, `${actual[i]}, not ${value}`);
}

function listTokenIds(choices: Choice[]): number[][] {
  return choices.map(({ finish }) => finish.tokenIds);
}

async function expectError({ send }: WorkerFixture, { manifest }: Package, inputs: GenerationInput[]) {
  const response = await send('/', { manifest, inputs });
  assert.notEqual(response.status, 200);
  return (await response.json()) as { code: string; message: string };
}

async function fetchReason({ send }: WorkerFixture, { manifest }: Package): Promise<string | null> {
  const response = await send('/reason', { manifest, inputs: [] });
  return ((await response.json()) as { reason: string | null }).reason;
}
