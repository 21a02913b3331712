import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { Cache } from './cache.ts';
import { compareOutputs } from './compare-outputs.ts';
import { openModel } from './models.ts';
import type { CaseResult } from './run-case.ts';

const SERVE = fileURLToPath(new URL('./serve.ts', import.meta.url));
const run = promisify(execFile);
let home: string;

before(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'attune-bench-'));
  // Postgres does not run as root and must be able to enter it.
  await chmod(home, 0o755);
});
after(() => rm(home, { recursive: true, force: true }));

test('all float32 peers generate the same tokens', async () => {
  const cache = new Cache(path.join(home, 'stories'), () => {});
  const comparison = await compareOutputs(cache, await openModel(cache, 'stories15M', {}), 2);
  assert.deepEqual(comparison.peers, ['attune:fp32', 'transformers:fp32', 'llama:F32']);
  assert.deepEqual(comparison.differing, []);
});

test('measures every named peer on a folder in Hugging Face layout', async () => {
  const folder = path.join(home, 'tiny');
  await writeTinyCheckpoint(folder, { layers: 1 });
  const json = path.join(home, 'result.json');
  const peers = ['attune:fp32', 'attune-http:fp32', 'transformers:fp32', 'llama:Q8_0'];
  const cases = ['--streams', '3', '--prompts', '9', '--tokens', '7', '--rounds', '1', '--peers', peers.join()];
  const { stdout } = await run(process.execPath, [
    SERVE,
    ...['--model', folder, '--json', json, '--cache', path.join(home, 'cache'), ...cases],
  ]);
  assert.match(stdout, /tiny · 3 × \(9 \+ 7\) tokens/);
  const report = JSON.parse(await readFile(json, 'utf8'));
  assert.ok(report.machine.roofline.readBytesPerSecond > 0);
  const { results } = report.models[0].cases[0] as CaseResult;
  assert.deepEqual(results.map(({ peer }) => peer).toSorted(), peers.toSorted());
  for (const { peer, median, failures, accuracy } of results) {
    assert.deepEqual(failures, [], peer);
    const kl = Math.max(accuracy!.own.kl, accuracy!.real.kl);
    assert.ok(peer.includes('fp32') ? kl < 1e-8 : kl > 1e-8 && kl < 0.1, `${peer}: KL ${kl}`);
    for (const [name, value] of Object.entries(median)) {
      assert.ok(name === 'otherCores' ? value >= 0 : value > 0, `${peer}: ${name} is ${value}`);
    }
  }
});

test('says how the real weights are installed and goes on without them', async () => {
  const args = ['--cache', path.join(home, 'empty'), '--models', 'smollm2-135m-instruct', '--peers', 'attune:fp32'];
  const { stdout } = await run(process.execPath, [SERVE, ...args]);
  assert.match(stdout, /smollm2-135m-instruct is NOT measured: run `npm run bench:serve -- --setup`/);
});

test('rejects an unknown peer and a model without a folder', async () => {
  const errorOf = (args: string[]) =>
    run(process.execPath, [SERVE, '--cache', path.join(home, 'cache'), ...args], { env: {} }).then(
      () => assert.fail('it ran'),
      ({ code, stderr }: { code: number; stderr: string }) => {
        assert.equal(code, 1);
        return stderr;
      },
    );
  assert.match(await errorOf(['--peers', 'vllm']), /--peers: unknown peer vllm/);
  assert.match(await errorOf(['--models', 'tinyllamas-260K']), /set TINYLLAMAS_260K to a folder/);
  assert.match(await errorOf(['--streams', '1,none']), /none is not a positive integer/);
});
