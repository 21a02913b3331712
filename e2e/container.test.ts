// `node edge/node.ts`, the edge container's entry point, as a process: settings from the environment, and a shutdown that
// lets streams finish.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DRAIN_TIMEOUT_MS } from '../edge/node.ts';
import { makeLongRequests, startEdgeServer } from '../testing/edge-server.ts';

const ENTRY = fileURLToPath(new URL('../edge/node.ts', import.meta.url));
const KEY = 'sk-container-test';

function run(env: Record<string, string>) {
  const child = spawn(process.execPath, [ENTRY], {
    env: { PATH: process.env.PATH, HOST: '0.0.0.0', PORT: '0', API_KEY: KEY, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: path.dirname(ENTRY),
  });
  let output = '';
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const address = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk;
        const port = /serving at http:\/\/0\.0\.0\.0:(\d+)/.exec(output)?.[1];
        if (port) resolve(`http://127.0.0.1:${port}`);
      });
    void ended.then(() => reject(new Error(`the server did not start: ${output}`)));
  });
  address.catch(() => {});
  return { child, ended, address, output: () => output };
}

test('the container serves from DATABASE_URL, and on SIGTERM finishes its streams and exits', async () => {
  const server = await startEdgeServer();
  const { endless } = await makeLongRequests(server);
  // ONNX Runtime would write its telemetry here.
  const HOME = await mkdtemp(path.join(server.home, 'user-'));
  const { child, ended, address, output } = run({ DATABASE_URL: server.databaseUrl, ATTUNE_HOME: server.home, HOME });
  try {
    const url = await address;
    const health = await fetch(`${url}/health`);
    assert.equal(health.status, 200);
    assert.equal(((await health.json()) as { policy: string }).policy, server.policyId);
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
    assert.equal(await ended, 0, output());
    assert.ok(performance.now() - streamed < DRAIN_TIMEOUT_MS / 2, 'idle keep-alive connections do not delay the exit');
    assert.match(output(), /stopping \(SIGTERM\)/);
    assert.deepEqual(await readdir(HOME), [], 'no telemetry');
  } finally {
    child.kill('SIGKILL');
  }
});

for (const [name, env, expected] of [
  ['DATABASE_URL', {}, /^attune: settings: DATABASE_URL: not set; give the URL/],
  ['API_KEY', { API_KEY: '' }, /^attune: settings: HOST is 0\.0\.0\.0.*set API_KEY/],
  ['a Postgres', { DATABASE_URL: 'postgres://127.0.0.1:1/none' }, /"area":"attune","msg":"Postgres cannot be reached/],
] as const) {
  test(`the container without ${name} fails with one line that names it`, async () => {
    const { ended, output } = run(env);
    assert.equal(await ended, 1);
    assert.match(output(), expected);
    assert.equal(output().trim().split('\n').length, 1, output());
  });
}
