import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { KvAdmission } from './kv-admission.ts';

const policy = {};
const need = (bytes: number, choices = 1) => ({ policy, bytes, choices });

test('generations begin in the order in which they came, as far as keys, values and rows have room', () => {
  const room = new KvAdmission({ kvMemory: 100, maxRows: 3, maxQueue: 5 });
  const [first, large, small] = [room.reserve(need(60)), room.reserve(need(50)), room.reserve(need(10))];
  assert.equal(room.tryStart(small), false);
  assert.equal(room.tryStart(first), true);
  assert.equal(room.tryStart(large), false);
  assert.equal(room.tryStart(small), false);
  room.release(first);
  assert.equal(room.tryStart(large), true);
  assert.equal(room.tryStart(small), true);
  const two = room.reserve(need(1, 2));
  assert.equal(room.tryStart(two), false);
  room.release(small);
  assert.equal(room.tryStart(two), true);
});

test('one that needs more than there is begins alone', () => {
  const room = new KvAdmission({ kvMemory: 100, maxRows: 2, maxQueue: 0 });
  const huge = room.reserve(need(500, 8));
  assert.equal(room.tryStart(huge), true);
  assert.throws(() => room.reserve(need(1)), { code: 'queue_full', status: 429 });
});

test('one that nothing is seen of is gone, and is here again once it is seen', () => {
  mock.timers.enable({ apis: ['Date'] });
  try {
    const room = new KvAdmission({ kvMemory: 100, maxRows: 1, maxQueue: 1 });
    const [silent, waiting] = [room.reserve(need(100)), room.reserve(need(100))];
    assert.equal(room.tryStart(silent), true);
    for (let second = 0; second < 3; second++) {
      mock.timers.tick(1000);
      assert.equal(room.tryStart(waiting), false);
      assert.ok(room.isInUse(policy));
    }
    mock.timers.tick(1500);
    assert.equal(room.tryStart(waiting), true);
    room.touch(silent);
    assert.throws(() => room.reserve(need(1)), { code: 'queue_full' });
    mock.timers.tick(60_000);
    assert.equal(room.isInUse(policy), false);
  } finally {
    mock.timers.reset();
  }
});
