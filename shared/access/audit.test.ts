import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { exportAudit, recordAudit } from './audit.ts';

const { db } = await openTestDatabase();

test('an export has every event of several pages once, oldest first', async () => {
  const targets = Array.from({ length: 1000 }, (_, at) => `round_${at}`);
  for (const target of targets) await recordAudit(db, { actor: 'command', action: 'round.requested', target });
  const lines = await Array.fromAsync(exportAudit(db));
  assert.ok(lines.every((line) => line.endsWith('\n')));
  const events = lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    events.map(({ target }) => target),
    targets,
  );
  const { id, created, ...rest } = events[0];
  assert.match(id, /^audit_/);
  assert.equal(typeof created, 'number');
  assert.deepEqual(rest, {
    object: 'audit_event',
    actor: 'command',
    action: 'round.requested',
    target: 'round_0',
    details: {},
  });
});
