import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { GOLDEN_CASES } from '../../testing/golden.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { sha256 } from '../digest.ts';
import { hashFiles, readManifest, verifyFiles, writeManifest } from './files.ts';
import type { Manifest } from './manifest.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-manifest-'));
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'policy-'));
  await mkdir(join(folder, 'onnx'));
  await writeFile(join(folder, 'onnx', 'model.onnx'), 'graph');
  await writeFile(join(folder, 'config.json'), '{}');
});
after(() => rm(root, { recursive: true }));

const manifest = async (): Promise<Manifest> => ({
  format: 1,
  kind: 'policy',
  id: 'pol_1',
  parent: null,
  reference: null,
  name: 'stories',
  objective: { type: 'lsif', reduction: 'mean' },
  pairs: { count: 3, digest: sha256('pairs') },
  metrics: { 'rewards/accuracies': 0.75 },
  architecture: tinyArchitecture(),
  tokenizer_hash: sha256('tokenizer'),
  serving: {
    precision: 'row8',
    accuracy: { row8: { perplexity: 2.6, greedy_agreement: 0.98, kl: 0.005, tokens: 1024 } },
  },
  files: await hashFiles(folder),
  created_at: new Date(0).toISOString(),
  source: 'test',
});

test('a manifest is read back unchanged and lists every file except itself', async () => {
  const written = await manifest();
  await writeManifest(folder, written);
  const read = await readManifest(folder);
  assert.deepEqual(read, written);
  assert.deepEqual(read.files, {
    'config.json': { sha256: sha256('{}'), bytes: 2 },
    'onnx/model.onnx': { sha256: sha256('graph'), bytes: 5 },
  });
  assert.deepEqual(await hashFiles(folder), read.files);
  await verifyFiles(folder, read);
});

test('reports a file that is missing, longer or altered', async () => {
  const read = await manifest();
  await writeFile(join(folder, 'onnx', 'model.onnx'), 'grapf');
  await assert.rejects(verifyFiles(folder, read), { message: /policy pol_1: file onnx\/model\.onnx has SHA-256 / });
  await appendFile(join(folder, 'onnx', 'model.onnx'), 'x');
  await assert.rejects(verifyFiles(folder, read), { message: /file onnx\/model\.onnx has 6 bytes, expected 5/ });
  await rm(join(folder, 'onnx', 'model.onnx'));
  await assert.rejects(verifyFiles(folder, read), {
    name: 'AttuneError',
    message: /file onnx\/model\.onnx is missing/,
  });
});

test('rejects a manifest that is missing, has another format or has paths outside the folder', async () => {
  await assert.rejects(readManifest(folder), { message: /policy\.json is missing/ });
  const good = await manifest();
  const write = (change: object) => writeFile(join(folder, 'policy.json'), JSON.stringify({ ...good, ...change }));
  await write({ format: 2 });
  await assert.rejects(readManifest(folder), { name: 'AttuneError', message: /format: .*newer version/ });
  for (const path of ['../x', '/etc/x', 'a/../../x', 'a\\..\\x', '', 'a//b', 'C:/x']) {
    await write({ files: { [path]: { sha256: sha256(''), bytes: 0 } } });
    await assert.rejects(readManifest(folder), { name: 'AttuneError' }, path);
  }
  await write({});
  assert.deepEqual(await readManifest(folder), good);
});

test('a manifest without architecture variant is a plain Llama', async () => {
  const written = await manifest();
  const { hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, vocabSize, contextLength } =
    written.architecture;
  const { normEpsilon, ropeTheta, tied, bos, eos } = written.architecture;
  const sizes = { hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, vocabSize, contextLength };
  const architecture = { ...sizes, normEpsilon, ropeTheta, tied, bos, eos };
  await writeFile(join(folder, 'policy.json'), JSON.stringify({ ...written, architecture }));
  assert.deepEqual((await readManifest(folder)).architecture, tinyArchitecture());
});

test('a manifest keeps the architecture of every family', async () => {
  for (const options of Object.values(GOLDEN_CASES)) {
    const architecture = tinyArchitecture(options);
    await writeManifest(folder, { ...(await manifest()), architecture });
    assert.deepEqual((await readManifest(folder)).architecture, architecture);
  }
});
