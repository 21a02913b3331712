import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startCanary } from '../shared/canary/canaries.ts';
import { AttuneError } from '../shared/error.ts';
import { activatePolicy, registerPolicy } from '../shared/store/registry.ts';
import { openTestDatabase } from '../testing/database.ts';
import { openTestInference } from '../testing/inference.ts';
import { makeTempFolder, writeTinyPackage } from '../testing/policy-package.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { watchPolicies } from './policy-watcher.ts';

const connection = await openTestDatabase();
const { db } = connection;
const root = await makeTempFolder();
after(root.remove);
for (const [at, id] of ['pol_a', 'pol_b', 'pol_c'].entries()) {
  await writeTinyPackage(join(root.path, id), { seed: at + 1 });
  await registerPolicy(db, { id, name: id, manifest: {} });
}

/** What asking for a candidate's package fails with, and how often it has. */
let failure: Error | null = null;
let attempts = 0;
const inference = openTestInference(root.path, {
  async getFolder(id) {
    if (id !== 'pol_a' && failure) {
      attempts++;
      throw failure;
    }
    return join(root.path, id);
  },
});
after(() => inference.close());
const counted: string[] = [];

test('what a candidate cannot help is not counted against it: its store is away, and it is served once it is back', async () => {
  await activatePolicy(db, 'pol_a', 'test');
  const watcher = await watchPolicies(connection, inference, (id) => counted.push(id));
  try {
    const problem = { status: 503, code: 'policy_store_unreachable' };
    failure = new AttuneError('POLICY_STORE: it cannot be reached', problem);
    const start = { policyId: 'pol_b', share: 0.1, actor: 'test' };
    await db.transaction((transaction) => startCanary(transaction, start));
    // As many as would give up a candidate that is at fault.
    await waitUntil(() => attempts >= 3);
    assert.equal(watcher.getCanary(), null);
    assert.equal(inference.getActivePolicy()?.id, 'pol_a');
    failure = new AttuneError('POLICY_STORE: wrong secret', { status: 500, code: 'policy_store_refused' });
    await waitUntil(() => attempts >= 4);
    failure = null;
    const canary = await waitUntil(() => watcher.getCanary());
    assert.equal(canary.policyId, 'pol_b');
    assert.equal(counted.join(), '');
    failure = new AttuneError('policy pol_c: it is damaged', { status: 500, code: 'damaged_policy' });
    await activatePolicy(db, 'pol_c', 'test');
    await waitUntil(() => counted.includes('pol_c'));
  } finally {
    await watcher.close();
  }
});
