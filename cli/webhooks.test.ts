import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eq } from 'drizzle-orm';
import { audit_events, heartbeats, webhook_events } from '../shared/database/schema.ts';
import { openTestDatabase } from '../testing/database.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const { db, url } = await openTestDatabase();
const folder = await mkdtemp(path.join(tmpdir(), 'attune-webhooks-'));
after(() => rm(folder, { recursive: true, force: true }));

function run(...args: string[]) {
  const env = { ...process.env, DATABASE_URL: url, ATTUNE_HOME: folder };
  return spawnSync(process.execPath, [CLI, ...args], { env, encoding: 'utf8' });
}

test('attune webhooks lists events by state, and makes one due again with its id', async () => {
  assert.equal(run('webhooks', 'list').stdout, 'no events in the last three days\n');
  const lost = { attempts: 11, last_error: 'the receiver responded with 503', given_up_at: new Date() };
  await db.insert(webhook_events).values([
    { id: 'evt_1', type: 'policy.activated', data: {}, delivered_at: new Date(), attempts: 1 },
    { id: 'evt_2', type: 'round.failed', data: {}, ...lost },
  ]);
  const [header, first, second] = run('webhooks', 'list').stdout.split('\n');
  assert.match(header!, /^id +time +type +state +attempts +last error$/);
  assert.match(first!, /^evt_2 .* round\.failed +given_up +11 +the receiver responded with 503$/);
  assert.match(second!, /^evt_1 .* policy\.activated +delivered +1$/);
  assert.ok(!run('webhooks', 'list', '--state', 'given_up').stdout.includes('evt_1'));

  const { stdout, stderr, status } = run('webhooks', 'resend', 'evt_2');
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^evt_2 is due; a running server sends it once WEBHOOK_URL is set/);
  const [row] = await db.select().from(webhook_events).where(eq(webhook_events.id, 'evt_2'));
  assert.deepEqual([row!.attempts, row!.given_up_at, row!.last_error], [0, null, null]);
  const [audit] = await db.select().from(audit_events).where(eq(audit_events.target, 'evt_2'));
  assert.deepEqual([audit!.actor, audit!.action], ['command', 'webhook.resent']);
  assert.match(
    run('webhooks', 'list').stdout,
    /^evt_2 .*pending.*\n(.*\n)*WEBHOOK_URL is not set: pending events wait /m,
  );
  const unknown = run('webhooks', 'resend', 'evt_3');
  assert.equal(unknown.status, 1);
  assert.match(unknown.stderr, /there is no webhook event evt_3/);
});

test('attune doctor says when a trainer was last seen', async () => {
  assert.match(run('doctor').stdout, /^trainer +never seen on this database/m);
  await db.insert(heartbeats).values({ name: 'trainer', seen_at: new Date(Date.now() - 125_000) });
  assert.match(run('doctor').stdout, /^trainer +last seen 2 min \d+ s ago/m);
});
