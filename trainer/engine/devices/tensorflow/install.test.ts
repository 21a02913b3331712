import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { reasonToSkip } from '../../../../testing/tensorflow-addon.ts';
import { findAddon, placeOfAddon, probeAddon } from './addon.ts';
import { installAddon } from './install.ts';
import { readCudaRequirements } from './wheels.ts';

const skip = await reasonToSkip();
const silent = () => {};

async function makeCache(t: TestContext): Promise<{ XDG_CACHE_HOME: string }> {
  const XDG_CACHE_HOME = await mkdtemp(path.join(tmpdir(), 'attune-cache-'));
  t.after(() => rm(XDG_CACHE_HOME, { recursive: true, force: true }));
  return { XDG_CACHE_HOME };
}

async function pretend(kind: 'cpu' | 'gpu', env: NodeJS.ProcessEnv): Promise<string> {
  const { file } = placeOfAddon(kind, env);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, 'not a library');
  return file;
}

test('the addon lives in the user’s cache, each kind in a folder of its own, and that for GPUs comes first', async (t) => {
  const env = await makeCache(t);
  assert.equal(findAddon(env), null);
  const cpu = await pretend('cpu', env);
  assert.ok(cpu.startsWith(path.join(env.XDG_CACHE_HOME, 'attune', 'tensorflow')));
  assert.equal(findAddon(env)?.file, cpu);
  const gpu = await pretend('gpu', env);
  assert.equal(findAddon(env)?.file, gpu);
  for (const ignored of ['relative/path', '']) {
    const { folder } = placeOfAddon('cpu', { XDG_CACHE_HOME: ignored });
    assert.ok(folder.includes(path.join('.cache', 'attune')), folder);
  }
});

test('what is installed is not installed again, whatever is missing to do it', async (t) => {
  const env = await makeCache(t);
  const file = await pretend('cpu', env);
  assert.equal((await installAddon('cpu', silent, env)).file, file);
});

test('a missing tool is named with the way to get it, before anything is downloaded', async (t) => {
  const env = await makeCache(t);
  for (const [name, message] of [
    ['CXX', /no C\+\+ compiler; install one: apt install/],
    ['MAKE', /make is not found; install it/],
    ['PYTHON', /python3 3.10 or later is not found; install python3, or name it in PYTHON/],
  ] as const) {
    const before = process.env[name];
    process.env[name] = '/nowhere/at-all';
    try {
      await assert.rejects(installAddon('cpu', silent, env), message);
    } finally {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    }
  }
  assert.deepEqual(await readdir(path.join(env.XDG_CACHE_HOME, 'attune', 'tensorflow')), []);
});

test('another process that installs is waited for, and one that died is not', async (t) => {
  const env = await makeCache(t);
  const { folder, file } = placeOfAddon('cpu', env);
  await mkdir(path.dirname(folder), { recursive: true });
  const said: string[] = [];
  // This process is alive, so it is waited for until what it installs is there and its lock is gone.
  await writeFile(`${folder}.lock`, String(process.pid));
  const waiting = installAddon('cpu', (line) => said.push(line), env);
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.deepEqual(said, [`process ${process.pid} is installing it; waiting`]);
  await pretend('cpu', env);
  await rm(`${folder}.lock`);
  assert.equal((await waiting).file, file);
  // No process has this number: Linux stops counting at 4194304.
  await rm(folder, { recursive: true });
  await writeFile(`${folder}.lock`, '4194305');
  const taking = installAddon('cpu', silent, env);
  await pretend('cpu', env);
  assert.equal((await taking).file, file);
  assert.equal(existsSync(`${folder}.lock`), false);
});

test('the packages of CUDA are read from the wheel’s metadata', () => {
  const metadata = `Name: tensorflow
Requires-Dist: numpy>=1.26.0
Provides-Extra: and-cuda
Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"
Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == 'and-cuda'
Requires-Dist: nvidia-other-cu12; extra == "another"
`;
  assert.deepEqual(readCudaRequirements(metadata), [
    'nvidia-cublas-cu12<13.0,>=12.5.3.2',
    'nvidia-cudnn-cu12<10.0,>=9.3.0.75',
  ]);
});

test('an addon that cannot be loaded is said to be so, and the installed one says what it sees', {
  skip,
}, async (t) => {
  const broken = await pretend('cpu', await makeCache(t));
  await assert.rejects(probeAddon(broken), /cannot be loaded/);
  const { version, gpu } = await probeAddon(findAddon()!.file);
  assert.match(version, /^2\./);
  assert.equal(typeof gpu, 'boolean');
});
