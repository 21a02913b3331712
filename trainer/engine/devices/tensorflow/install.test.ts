import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { findTensorflowSkipReason } from '../../../../testing/tensorflow-addon.ts';
import { addonLocation, findAddon, probeAddon } from './addon.ts';
import { installAddon } from './install.ts';
import { parseCudaRequirements } from './wheels.ts';

const skip = await findTensorflowSkipReason();
const ignoreLog = () => {};

async function makeCache(t: TestContext): Promise<{ XDG_CACHE_HOME: string }> {
  const XDG_CACHE_HOME = await mkdtemp(path.join(tmpdir(), 'attune-cache-'));
  t.after(() => rm(XDG_CACHE_HOME, { recursive: true, force: true }));
  return { XDG_CACHE_HOME };
}

async function writeFakeAddon(kind: 'cpu' | 'gpu', env: NodeJS.ProcessEnv): Promise<string> {
  const { file } = addonLocation(kind, env);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, 'not a library');
  return file;
}

test('the addon is found in the user’s cache, one folder per kind, and the one for GPUs is preferred', async (t) => {
  const env = await makeCache(t);
  assert.equal(findAddon(env), null);
  const cpu = await writeFakeAddon('cpu', env);
  assert.ok(cpu.startsWith(path.join(env.XDG_CACHE_HOME, 'attune', 'tensorflow')));
  assert.equal(findAddon(env)?.file, cpu);
  const gpu = await writeFakeAddon('gpu', env);
  assert.equal(findAddon(env)?.file, gpu);
  for (const ignored of ['relative/path', '']) {
    const { folder } = addonLocation('cpu', { XDG_CACHE_HOME: ignored });
    assert.ok(folder.includes(path.join('.cache', 'attune')), folder);
  }
});

test('an installed addon is not installed again, even without the tools to build it', async (t) => {
  const env = await makeCache(t);
  const file = await writeFakeAddon('cpu', env);
  assert.equal((await installAddon('cpu', ignoreLog, env)).file, file);
});

test('a missing build tool is reported with installation advice before anything is downloaded', async (t) => {
  const env = await makeCache(t);
  for (const [name, message] of [
    ['CXX', /no C\+\+ compiler; install one: apt install/],
    ['MAKE', /make is not found; install it/],
    ['PYTHON', /python3 3.10 or later is not found; install python3, or name it in PYTHON/],
  ] as const) {
    const before = process.env[name];
    process.env[name] = '/nowhere/at-all';
    try {
      await assert.rejects(installAddon('cpu', ignoreLog, env), message);
    } finally {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    }
  }
  assert.deepEqual(await readdir(path.join(env.XDG_CACHE_HOME, 'attune', 'tensorflow')), []);
});

test('waits for another installing process, but not for one that died', async (t) => {
  const env = await makeCache(t);
  const { folder, file } = addonLocation('cpu', env);
  await mkdir(path.dirname(folder), { recursive: true });
  const lines: string[] = [];
  // This process is alive, so the installation waits until the addon is there and the lock is gone.
  await writeFile(`${folder}.lock`, String(process.pid));
  const waiting = installAddon('cpu', (line) => lines.push(line), env);
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.deepEqual(lines, [`process ${process.pid} is installing it; waiting`]);
  await writeFakeAddon('cpu', env);
  await rm(`${folder}.lock`);
  assert.equal((await waiting).file, file);
  // No process has this number: Linux stops counting at 4194304.
  await rm(folder, { recursive: true });
  await writeFile(`${folder}.lock`, '4194305');
  const takingOver = installAddon('cpu', ignoreLog, env);
  await writeFakeAddon('cpu', env);
  assert.equal((await takingOver).file, file);
  assert.equal(existsSync(`${folder}.lock`), false);
});

test('the CUDA packages are parsed from the wheel’s metadata', () => {
  const metadata = `Name: tensorflow
Requires-Dist: numpy>=1.26.0
Provides-Extra: and-cuda
Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"
Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == 'and-cuda'
Requires-Dist: nvidia-other-cu12; extra == "another"
`;
  assert.deepEqual(parseCudaRequirements(metadata), [
    'nvidia-cublas-cu12<13.0,>=12.5.3.2',
    'nvidia-cudnn-cu12<10.0,>=9.3.0.75',
  ]);
});

test('probing reports an addon that cannot be loaded, and version and GPU of the installed one', {
  skip,
}, async (t) => {
  const broken = await writeFakeAddon('cpu', await makeCache(t));
  await assert.rejects(probeAddon(broken), /cannot be loaded/);
  const { version, gpu } = await probeAddon(findAddon()!.file);
  assert.match(version, /^2\./);
  assert.equal(typeof gpu, 'boolean');
});
