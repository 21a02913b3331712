import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const TORTURE = fileURLToPath(new URL('./torture.ts', import.meta.url));

test('nothing acknowledged is lost and nobody is kept out, whatever is cut, killed and sent', async () => {
  const child = spawn(process.execPath, [TORTURE, '--quick', '--seed', '1', '--only', 'a,b,c,d'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let table = '';
  let progress = '';
  child.stdout.on('data', (chunk) => {
    table += chunk;
  });
  child.stderr.on('data', (chunk) => {
    progress += chunk;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  console.log(table);
  assert.equal(code, 0, progress);
});
