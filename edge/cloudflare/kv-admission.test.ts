import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Room } from './kv-admission.ts';

const policy = {};
const need = (bytes: number, choices = 1) => ({ policy, bytes, choices });

test('generations begin in the order in which they came, as far as keys, values and rows have room', () => {
  const room = new Room({ kvMemory: 100, maxRows: 3, maxQueue: 5 });
  const [first, large, small] = [room.enter(need(60)), room.enter(need(50)), room.enter(need(10))];
  assert.equal(room.begin(small), false);
  assert.equal(room.begin(first), true);
  assert.equal(room.begin(large), false);
  assert.equal(room.begin(small), false);
  room.leave(first);
  assert.equal(room.begin(large), true);
  assert.equal(room.begin(small), true);
  const two = room.enter(need(1, 2));
  assert.equal(room.begin(two), false);
  room.leave(small);
  assert.equal(room.begin(two), true);
});

test('one that needs more than there is begins alone', () => {
  const room = new Room({ kvMemory: 100, maxRows: 2, maxQueue: 0 });
  const huge = room.enter(need(500, 8));
  assert.equal(room.begin(huge), true);
  assert.throws(() => room.enter(need(1)), { code: 'queue_full', status: 429 });
});

test('one that nothing is seen of is gone, and is here again once it is seen', () => {
  mock.timers.enable({ apis: ['Date'] });
  try {
    const room = new Room({ kvMemory: 100, maxRows: 1, maxQueue: 1 });
    const [silent, waiting] = [room.enter(need(100)), room.enter(need(100))];
    assert.equal(room.begin(silent), true);
    for (let second = 0; second < 3; second++) {
      mock.timers.tick(1000);
      assert.equal(room.begin(waiting), false);
      assert.ok(room.isUsed(policy));
    }
    mock.timers.tick(1500);
    assert.equal(room.begin(waiting), true);
    room.see(silent);
    assert.throws(() => room.enter(need(1)), { code: 'queue_full' });
    mock.timers.tick(60_000);
    assert.equal(room.isUsed(policy), false);
  } finally {
    mock.timers.reset();
  }
});
