import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Tenants } from './tenants.ts';

test('a process is shared once two tenants have sent requests, until one has sent nothing for ten minutes', () => {
  mock.timers.enable({ apis: ['Date'] });
  const tenants = new Tenants();
  tenants.see('a');
  tenants.see('a');
  assert.equal(tenants.isShared, false);
  tenants.see('b');
  assert.equal(tenants.isShared, true);
  mock.timers.tick(9 * 60_000);
  tenants.see('b');
  assert.equal(tenants.isShared, true);
  mock.timers.tick(60_000);
  assert.equal(tenants.isShared, false);
  tenants.see('a');
  assert.equal(tenants.isShared, true);
  mock.timers.reset();
});

test('one that is known to be shared is shared from the start', () => {
  assert.equal(new Tenants(true).isShared, true);
});
