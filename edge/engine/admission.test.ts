import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AdmissionLimits, validatePlaces } from './admission.ts';
import { Tenants } from './tenants.ts';

const LIMITS = { maxRows: 16, maxQueue: 256 };

/** Admits one generation at a time for each caller in turn until each is refused; returns how many each got. */
function fill(callers: number, limits: AdmissionLimits, own = new Array<number>(callers).fill(0)): number[] {
  for (let admitted = true; admitted; ) {
    admitted = false;
    for (let caller = 0; caller < callers; caller++) {
      const held = own.reduce((sum, count) => sum + count, 0);
      try {
        validatePlaces({ held, own: own[caller]!, added: 1 }, limits);
      } catch {
        continue;
      }
      own[caller]!++;
      admitted = true;
    }
  }
  return own;
}

test('a single caller gets all places', () => {
  assert.deepEqual(fill(1, LIMITS), [272]);
  assert.throws(() => validatePlaces({ held: 272, own: 272, added: 1 }, LIMITS), {
    status: 429,
    code: 'queue_full',
    retry: true,
    message: /272 generations and scores run or wait, the limit is 272/,
  });
});

test('of several callers one may take two thirds of the places, n take equal shares, and a newcomer always finds room', () => {
  const shared = { ...LIMITS, tenants: new Tenants(true) };
  assert.deepEqual(fill(1, shared), [181]);
  assert.deepEqual(fill(3, shared), [78, 78, 77]);
  for (const callers of [1, 2, 5, 20]) {
    const held = fill(callers, shared).reduce((sum, count) => sum + count, 0);
    validatePlaces({ held, own: 0, added: Math.floor(272 / (2 * callers + 1)) - 1 }, shared);
  }
});

test('a caller that took its share alone leaves room for others, who get theirs', () => {
  const shared = { ...LIMITS, tenants: new Tenants(true) };
  const [first, second, third] = fill(3, shared, [181, 0, 0]);
  assert.ok(first === 181 && second! >= 36 && third! >= 36, `${[first, second, third]}`);
});

test('the error of a full share says how large it is', () => {
  assert.throws(() => validatePlaces({ held: 185, own: 181, added: 1 }, { ...LIMITS, tenants: new Tenants(true) }), {
    status: 429,
    code: 'queue_full',
    message: /181 of its generations and scores run or wait.*2 for each place that stays free \(87 of 272 are free\)/,
  });
});

test('a request that needs more than all places is admitted when nobody else is there', () => {
  validatePlaces({ held: 0, own: 0, added: 300 }, { ...LIMITS, tenants: new Tenants(true) });
});
