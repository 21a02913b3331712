import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WrongKeys } from './wrong-keys.ts';

const LIMITED = { status: 429, code: 'too_many_wrong_keys' };

test('after the limit an address waits for the minute to end, and other addresses do not', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  const wrong = new WrongKeys(3);
  for (let at = 0; at < 3; at++) {
    wrong.check('192.0.2.1', `guess ${at}`);
    wrong.count('192.0.2.1');
    t.mock.timers.tick(1000);
  }
  assert.throws(() => wrong.check('192.0.2.1', 'guess'), { ...LIMITED, retryAfterMs: 57_000, message: /wait 57 sec/ });
  assert.throws(() => wrong.check('::ffff:192.0.2.1', 'guess'), LIMITED);
  wrong.check('192.0.2.2', 'guess');
  t.mock.timers.tick(57_000);
  wrong.check('192.0.2.1', 'guess');
});

test('a key that was accepted from an address stays accepted there, for ten minutes since its last use', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  const wrong = new WrongKeys(1);
  wrong.accept('192.0.2.1', 'in use');
  for (let minute = 0; minute < 10; minute++) {
    wrong.count('192.0.2.1');
    wrong.check('192.0.2.1', 'in use');
    assert.throws(() => wrong.check('192.0.2.1', 'new'), LIMITED);
    t.mock.timers.tick(60_000);
  }
  wrong.count('192.0.2.1');
  assert.throws(() => wrong.check('192.0.2.1', 'in use'), LIMITED);
  wrong.count('192.0.2.9');
  assert.throws(() => wrong.check('192.0.2.9', 'in use'), LIMITED, 'another address cannot test keys that are in use');
});

test('the addresses of one IPv6 network count as one', () => {
  const wrong = new WrongKeys(2);
  wrong.count('2001:db8:1:2:3:4:5:6');
  wrong.count('2001:db8:1:2::7');
  assert.throws(() => wrong.check('2001:db8:1:2:ffff::', 'guess'), LIMITED);
  wrong.check('2001:db8:1:3::7', 'guess');
});
