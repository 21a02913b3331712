import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../../shared/random.ts';
import { EvenSides, type SideName } from './even-sides.ts';

function open() {
  const sent: string[] = [];
  const sides = new EvenSides((side, text) => sent.push(`${side}:${text}`));
  return { sides, sent };
}

test('a side that is faster waits for the other one', () => {
  const { sides, sent } = open();
  for (const text of ['1', '2', '3']) sides.add('b', text);
  assert.deepEqual(sent, []);
  sides.add('a', 'x');
  assert.deepEqual(sent, ['a:x', 'b:1']);
  sides.add('a', 'y');
  assert.deepEqual(sent, ['a:x', 'b:1', 'a:y', 'b:2']);
});

test('once a side has ended, the other one waits no longer', () => {
  const { sides, sent } = open();
  sides.add('a', 'x');
  sides.add('a', 'y');
  sides.end('b', '');
  assert.deepEqual(sent, ['a:x', 'a:y']);
  sides.add('a', 'z');
  sides.end('a', '!');
  assert.deepEqual(sent.slice(2), ['a:z', 'a:!']);
});

test('what a side held back until its end is in order too', () => {
  const { sides, sent } = open();
  sides.add('a', 'x');
  sides.end('a', ' rest');
  sides.add('b', '1');
  assert.deepEqual(sent, ['a:x', 'b:1']);
  sides.end('b', ' rest');
  assert.deepEqual(sent.slice(2), ['a: rest', 'b: rest']);
});

test('a token without text counts, and is not sent', () => {
  const { sides, sent } = open();
  sides.add('a', '');
  sides.add('a', 'ü');
  sides.add('b', '1');
  assert.deepEqual(sent, ['b:1']);
  sides.add('b', '2');
  assert.deepEqual(sent, ['b:1', 'a:ü', 'b:2']);
});

test('in any order of events neither side is ahead by more than one token while both are written', () => {
  const random = mulberry32(1);
  for (let run = 0; run < 200; run++) {
    const lengths = { a: Math.floor(random() * 12), b: Math.floor(random() * 12) };
    const counts = { a: 0, b: 0 };
    const sides = new EvenSides((side: SideName) => {
      counts[side]++;
      const isWriting = counts.a < lengths.a && counts.b < lengths.b;
      if (isWriting) assert.ok(Math.abs(counts.a - counts.b) <= 1);
    });
    const left = { ...lengths };
    const open = new Set<SideName>(['a', 'b']);
    while (open.size > 0) {
      const side = random() < 0.5 ? 'a' : 'b';
      if (!open.has(side)) continue;
      if (left[side]-- > 0) sides.add(side, 'x');
      else {
        sides.end(side, '');
        open.delete(side);
      }
    }
    assert.deepEqual(counts, lengths);
  }
});
