import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openTestDatabase } from '../testing/database.ts';
import { storePolicyVotes } from '../testing/stored-rows.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const { db, url } = await openTestDatabase();
const folder = await mkdtemp(path.join(tmpdir(), 'attune-leaderboard-'));
after(() => rm(folder, { recursive: true, force: true }));

function run(...args: string[]) {
  const env = { ...process.env, DATABASE_URL: url, ATTUNE_HOME: folder };
  return spawnSync(process.execPath, [CLI, 'leaderboard', ...args], { env, encoding: 'utf8' });
}

test('attune leaderboard prints a table, who decides the first place, and notes', async () => {
  assert.equal(run().stdout, 'note: There are no votes between two policies.\n');
  const votes = Array.from({ length: 40 }, (_, at) => {
    const choice = at % 10 === 9 ? ('tie' as const) : at % 4 === 0 ? ('a' as const) : ('b' as const);
    return { a: 'pol_1', b: 'pol_2', choice, rater: `ann ${at % 3}`, prompt: `prompt ${at}` };
  });
  await storePolicyVotes(db, 'default', votes);
  const { stdout, stderr, status } = run();
  assert.equal(status, 0, stderr);
  const [header, first, second, , count, place, note] = stdout.split('\n');
  assert.match(header!, /^rank +policy +name +rating +95% +ranks +votes +win rate +ties dropped$/);
  assert.match(first!, /^1 +pol_2 +\+1\d\d +\[\+\d+, \+\d+\] +1 +40 +\d\d\.\d% +\+\d+$/);
  assert.match(second!, /^2 +pol_1 +0 +2 +40 +\d\d\.\d% +0$/);
  assert.equal(count, 'votes: 40, of them ties: 4, both bad: 0; raters: 3; prompts: 40');
  assert.match(place!, /^first place: without 17 of the votes \(42\.50%\) pol_1 would be before pol_2$/);
  assert.match(note!, /^note: There are fewer than 6 raters/);
  const printed = JSON.parse(run('--json', '--ties', 'dropped', '--until', '2020-01-01').stdout);
  assert.deepEqual([printed.ties, printed.votes.counted], ['dropped', 0]);
});

test('attune leaderboard refuses a wrong time', () => {
  const { status, stderr } = run('--since', 'yesterday');
  assert.equal(status, 1);
  assert.match(stderr, /give an ISO 8601 date or time/);
});
