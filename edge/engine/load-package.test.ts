import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hashFiles, writeManifest } from '../../shared/package/files.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { generateOne, makeWithInference, NO_EOS, RecordingInstrumentation } from '../../testing/inference.ts';
import { makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import type { Inference } from './inference.ts';

const root = await makeTempFolder();
after(root.remove);
const withInference = makeWithInference(root.path);
const whole = join(root.path, 'whole');
await writeTinyPackage(whole, { seed: 1 });

async function copyPackage(name: string): Promise<string> {
  const folder = join(root.path, name);
  await cp(whole, folder, { recursive: true });
  return folder;
}

/** The package is refused for this reason, and the one before it goes on. */
async function assertRefused(name: string, reason: RegExp): Promise<void> {
  const record = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const before = await generateOne(inference.active()!, 'Once', NO_EOS);
    const expected = { name: 'AttuneError', code: 'policy_unusable', status: 422, message: reason };
    await assert.rejects(inference.activate(name), expected);
    await assert.rejects(inference.getPolicy(name), expected);
    assert.equal(inference.active()!.id, 'whole');
    assert.deepEqual(await generateOne(inference.active()!, 'Once', NO_EOS), before);
  };
  await withInference('whole', run, { instrumentation: record });
  assert.deepEqual(record.refusals, [name]);
}

test('a graph that cannot be read is refused', async () => {
  const folder = await copyPackage('truncated');
  await writeFile(join(folder, 'onnx', 'serve.onnx'), 'no model');
  await assertRefused('truncated', /policy truncated cannot serve: its serving graph/);
});

test('a policy that computes NaN is refused', async () => {
  const folder = await copyPackage('broken');
  const data = await readFile(join(folder, 'onnx', 'model.onnx_data'));
  data.writeFloatLE(Number.NaN, 20);
  await writeFile(join(folder, 'onnx', 'model.onnx_data'), data);
  await assertRefused('broken', /policy broken cannot serve: its serving graph: its logits are not finite/);
});

for (const file of ['config.json', 'tokenizer.json', 'onnx/serve.onnx', 'onnx/model.onnx_data']) {
  test(`a package without ${file} is refused`, async () => {
    const name = `without-${file.replaceAll('/', '-')}`;
    await rm(join(await copyPackage(name), ...file.split('/')));
    await assertRefused(name, /serve\.onnx|model\.onnx_data|config\.json is missing|tokenizer\.json: it is missing/);
  });
}

test('a tokenizer with more tokens than the graph knows is refused', async () => {
  const folder = await copyPackage('talkative');
  const path = join(folder, 'tokenizer.json');
  const json = JSON.parse(await readFile(path, 'utf8'));
  json.model.vocab['never heard of'] = 340;
  await writeFile(path, JSON.stringify(json));
  await assertRefused('talkative', /tokenizer\.json has 341 tokens, the policy's vocabulary has 340/);
});

test('a tokenizer other than the one in policy.json is refused, and the right one is not', async () => {
  for (const name of ['right', 'wrong']) {
    const folder = await copyPackage(name);
    const { hash } = await Tokenizer.open(folder);
    await writeManifest(folder, await describe(folder, name === 'right' ? hash : '0'.repeat(64)));
  }
  await assertRefused('wrong', /tokenizer\.json has hash \w{64}, policy\.json expects 0{64}/);
  await withInference('right', async (inference) => {
    assert.equal((await generateOne(inference.active()!, 'Once', NO_EOS)).finishReason, 'length');
  });
});

async function describe(folder: string, tokenizerHash: string): Promise<Manifest> {
  const architecture = await withInference('whole', async (inference) => inference.active()!.architecture);
  return {
    format: 1,
    id: 'pol_1',
    parent: null,
    reference: null,
    name: 'tiny',
    objective: null,
    pairs: null,
    metrics: {},
    architecture,
    tokenizer_hash: tokenizerHash,
    serving: { precision: 'fp32', accuracy: {} },
    files: await hashFiles(folder),
    created_at: new Date(0).toISOString(),
    source: 'test',
  };
}
