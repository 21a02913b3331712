// What the edge's container runs, `node edge/node.ts`, as a process: settings from the environment, and a stop that lets
// streams end.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DRAIN_TIMEOUT_MS } from '../edge/node.ts';
import { setStage } from '../testing/edge-server.ts';
import { bePatient } from '../testing/extra-edge.ts';

const ENTRY = fileURLToPath(new URL('../edge/node.ts', import.meta.url));
const KEY = 'sk-container-test';

function run(env: Record<string, string>) {
  const child = spawn(process.execPath, [ENTRY], {
    env: { PATH: process.env.PATH, HOST: '0.0.0.0', PORT: '0', API_KEY: KEY, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: path.dirname(ENTRY),
  });
  let said = '';
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const address = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        said += chunk;
        const port = /serving at http:\/\/0\.0\.0\.0:(\d+)/.exec(said)?.[1];
        if (port) resolve(`http://127.0.0.1:${port}`);
      });
    void ended.then(() => reject(new Error(`it did not start: ${said}`)));
  });
  address.catch(() => {});
  return { child, ended, address, said: () => said };
}

test('the container serves on the Postgres it is given, and on SIGTERM ends its streams and then itself', async () => {
  const stage = await setStage();
  const { endless } = await bePatient(stage);
  // Where ONNX Runtime would keep what it wants to report.
  const HOME = await mkdtemp(path.join(stage.home, 'user-'));
  const { child, ended, address, said } = run({ DATABASE_URL: stage.databaseUrl, ATTUNE_HOME: stage.home, HOME });
  try {
    const url = await address;
    const health = await fetch(`${url}/health`);
    assert.equal(health.status, 200);
    assert.equal(((await health.json()) as { policy: string }).policy, stage.policyId);
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
    const body = JSON.stringify({ ...endless, max_tokens: 800, stream: true });
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body });
    assert.equal(response.status, 200);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    assert.doesNotMatch(text, /\[DONE\]/);
    child.kill('SIGTERM');
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    assert.match(text, /"finish_reason":"length"/);
    assert.ok(text.endsWith('data: [DONE]\n\n'));
    const streamed = performance.now();
    assert.equal(await ended, 0, said());
    assert.ok(
      performance.now() - streamed < DRAIN_TIMEOUT_MS / 2,
      'it does not wait for connections that are only kept alive',
    );
    assert.match(said(), /stopping \(SIGTERM\)/);
    assert.deepEqual(await readdir(HOME), [], 'nothing is reported to anybody');
  } finally {
    child.kill('SIGKILL');
  }
});

for (const [name, env, expected] of [
  ['DATABASE_URL', {}, /^attune: settings: DATABASE_URL: not set; give the URL/],
  ['API_KEY', { API_KEY: '' }, /^attune: settings: HOST is 0\.0\.0\.0.*set API_KEY/],
  ['a Postgres', { DATABASE_URL: 'postgres://127.0.0.1:1/none' }, /^attune: Postgres cannot be reached/],
] as const) {
  test(`the container without ${name} ends with one line that says so, and not with 0`, async () => {
    const { ended, said } = run(env);
    assert.equal(await ended, 1);
    assert.match(said(), expected);
    assert.equal(said().trim().split('\n').length, 1, said());
  });
}
