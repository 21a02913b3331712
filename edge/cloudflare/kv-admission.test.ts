import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { KvAdmission } from './kv-admission.ts';

const policy = {};
const request = (bytes: number, choices = 1) => ({ policy, bytes, choices });

test('generations start in order of arrival, while their keys, values and rows fit', () => {
  const admission = new KvAdmission({ kvMemoryBytes: 100, maxRows: 3, maxQueue: 5 });
  const [first, large, small] = [
    admission.reserve(request(60)),
    admission.reserve(request(50)),
    admission.reserve(request(10)),
  ];
  assert.equal(admission.tryStart(small), false);
  assert.equal(admission.tryStart(first), true);
  assert.equal(admission.tryStart(large), false);
  assert.equal(admission.tryStart(small), false);
  admission.release(first);
  assert.equal(admission.tryStart(large), true);
  assert.equal(admission.tryStart(small), true);
  const two = admission.reserve(request(1, 2));
  assert.equal(admission.tryStart(two), false);
  admission.release(small);
  assert.equal(admission.tryStart(two), true);
});

test('a generation larger than the memory runs alone', () => {
  const admission = new KvAdmission({ kvMemoryBytes: 100, maxRows: 2, maxQueue: 0 });
  const huge = admission.reserve(request(500, 8));
  assert.equal(admission.tryStart(huge), true);
  assert.throws(() => admission.reserve(request(1)), { code: 'queue_full', status: 429 });
});

test('an untouched reservation expires, and touching it admits it again', () => {
  mock.timers.enable({ apis: ['Date'] });
  try {
    const admission = new KvAdmission({ kvMemoryBytes: 100, maxRows: 1, maxQueue: 1 });
    const [silent, waiting] = [admission.reserve(request(100)), admission.reserve(request(100))];
    assert.equal(admission.tryStart(silent), true);
    for (let second = 0; second < 3; second++) {
      mock.timers.tick(1000);
      assert.equal(admission.tryStart(waiting), false);
      assert.ok(admission.isInUse(policy));
    }
    mock.timers.tick(1500);
    assert.equal(admission.tryStart(waiting), true);
    admission.touch(silent);
    assert.throws(() => admission.reserve(request(1)), { code: 'queue_full' });
    mock.timers.tick(60_000);
    assert.equal(admission.isInUse(policy), false);
  } finally {
    mock.timers.reset();
  }
});
