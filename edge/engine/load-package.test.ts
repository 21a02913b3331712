import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { hashFiles, writeManifest } from '../../shared/package/files.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { generateChoice, makeWithInference, NO_EOS, RecordingInstrumentation } from '../../testing/inference.ts';
import { makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import { makeManifest } from '../../testing/store-package.ts';
import type { Inference } from './inference.ts';

const root = await makeTempFolder();
after(root.remove);
const withInference = makeWithInference(root.path);
const intactFolder = join(root.path, 'whole');
await writeTinyPackage(intactFolder, { seed: 1 });

async function copyPackage(name: string): Promise<string> {
  const folder = join(root.path, name);
  await cp(intactFolder, folder, { recursive: true });
  return folder;
}

/** The package is rejected with this reason, and the active policy keeps serving. */
async function assertRejected(name: string, reason: RegExp): Promise<void> {
  const recording = new RecordingInstrumentation();
  const run = async (inference: Inference) => {
    const before = await generateChoice(inference.getActivePolicy()!, 'Once', NO_EOS);
    const expected = { name: 'AttuneError', code: 'policy_unusable', status: 422, message: reason };
    await assert.rejects(inference.activate(name), expected);
    await assert.rejects(inference.getPolicy(name), expected);
    assert.equal(inference.getActivePolicy()!.id, 'whole');
    assert.deepEqual(await generateChoice(inference.getActivePolicy()!, 'Once', NO_EOS), before);
  };
  await withInference('whole', run, { instrumentation: recording });
  assert.deepEqual(recording.rejectedPolicies, [name]);
}

test('rejects a graph that cannot be parsed', async () => {
  const folder = await copyPackage('truncated');
  await writeFile(join(folder, 'onnx', 'serve.onnx'), 'no model');
  await assertRejected('truncated', /policy truncated cannot serve: its serving graph/);
});

test('rejects a policy that computes NaN', async () => {
  const folder = await copyPackage('broken');
  const data = await readFile(join(folder, 'onnx', 'model.onnx_data'));
  data.writeFloatLE(Number.NaN, 20);
  await writeFile(join(folder, 'onnx', 'model.onnx_data'), data);
  await assertRejected('broken', /policy broken cannot serve: its serving graph: its logits are not finite/);
});

for (const file of ['config.json', 'tokenizer.json', 'onnx/serve.onnx', 'onnx/model.onnx_data']) {
  test(`rejects a package without ${file}`, async () => {
    const name = `without-${file.replaceAll('/', '-')}`;
    await rm(join(await copyPackage(name), ...file.split('/')));
    await assertRejected(name, /serve\.onnx|model\.onnx_data|config\.json is missing|tokenizer\.json: it is missing/);
  });
}

test('rejects a tokenizer with more tokens than the vocabulary', async () => {
  const folder = await copyPackage('large-vocabulary');
  const path = join(folder, 'tokenizer.json');
  const json = JSON.parse(await readFile(path, 'utf8'));
  json.model.vocab['an additional token'] = 340;
  await writeFile(path, JSON.stringify(json));
  await assertRejected('large-vocabulary', /tokenizer\.json has 341 tokens, the policy's vocabulary has 340/);
});

test('rejects a tokenizer with another hash than policy.json, and accepts the right one', async () => {
  for (const name of ['right', 'wrong']) {
    const folder = await copyPackage(name);
    const { hash } = await Tokenizer.open(folder);
    const manifest = makeManifest({
      architecture: await readArchitecture(folder),
      tokenizer_hash: name === 'right' ? hash : '0'.repeat(64),
      files: await hashFiles(folder),
    });
    await writeManifest(folder, manifest);
  }
  await assertRejected('wrong', /tokenizer\.json has hash \w{64}, policy\.json expects 0{64}/);
  await withInference('right', async (inference) => {
    assert.equal((await generateChoice(inference.getActivePolicy()!, 'Once', NO_EOS)).finishReason, 'length');
  });
});
