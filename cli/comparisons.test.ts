import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parquetReadObjects } from 'hyparquet';
import { openTestDatabase } from '../testing/database.ts';
import type { Json } from '../testing/edge-server.ts';
import { storeComparison, storePreference } from '../testing/stored-rows.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const { db, url } = await openTestDatabase();
const folder = await mkdtemp(path.join(tmpdir(), 'attune-comparisons-'));
after(() => rm(folder, { recursive: true, force: true }));

function run(...args: string[]) {
  const env = { ...process.env, DATABASE_URL: url, ATTUNE_HOME: folder };
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...args], { env, encoding: 'utf8' });
  return { stdout, stderr, status };
}

const { id } = await storeComparison(db, 'Once upon a time');
for (const rater of ['ann', 'ben'])
  await storePreference(db, 'vote', { source: 'comparison', comparison_id: id, rater: `user:${rater}` });

test('attune comparisons export writes JSON lines or a Parquet file, and counts on standard error', async () => {
  const { stdout, stderr, status } = run('comparisons', 'export');
  assert.equal(status, 0, stderr);
  const [record, ...others] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual([record.id, record.votes.length, others], [id, 2, []]);
  assert.match(stderr, /comparisons: 1\/1/);
  const out = path.join(folder, 'comparisons.parquet');
  const written = run('comparisons', 'export', '--format', 'parquet', '--out', out);
  assert.deepEqual([written.status, written.stdout], [0, '']);
  const bytes = await readFile(out);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const [row] = (await parquetReadObjects({ file })) as Json[];
  assert.deepEqual([row.id, row.votes.length], [id, 2]);
});

test('attune comparisons refuses an unknown queue, a wrong time and a folder that is not there', () => {
  const errors: [string[], RegExp][] = [
    [['--queue', 'que_none'], /^attune: queue: there is no queue que_none/],
    [['--since', 'yesterday'], /give an ISO 8601 date/],
    [['--out', '/nowhere/x.jsonl'], /^attune: comparisons export: ENOENT/m],
  ];
  for (const [args, message] of errors) {
    const { status, stderr } = run('comparisons', 'export', ...args);
    assert.equal(status, 1);
    assert.match(stderr, message);
  }
});

test('attune comparisons datasheet writes Markdown, or JSON', () => {
  assert.match(run('comparisons', 'datasheet', '--licence', 'MIT').stdout, /Licence: MIT/);
  const sheet = JSON.parse(run('comparisons', 'datasheet', '--format', 'json', '--until', '2020-01-01').stdout);
  assert.deepEqual([sheet.comparisons.total, sheet.licence], [0, null]);
});

test('attune preferences export writes one pair of each comparison, and says what it leaves out', () => {
  const { stdout, stderr } = run(
    'preferences',
    'export',
    '--format',
    'trl',
    '--aggregate',
    'majority',
    '--min-reviews',
    '2',
  );
  assert.equal(JSON.parse(stdout).id, id);
  assert.match(stderr, /1 pairs; left out: 0 ties/);
  const refused = run('preferences', 'export', '--exclude-paused');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /need --aggregate majority/);
});
