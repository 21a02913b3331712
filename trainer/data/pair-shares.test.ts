import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../../shared/random.ts';
import { findCap, findOverShare, getGivingKey, getRater, type Origin, orderInTurns } from './pair-shares.ts';

const SHARES = { rater: 0.25, source: 0.5 };

type Pair = Origin & { at: number };
let count = 0;
const make = (length: number, origin: Partial<Origin>): Pair[] =>
  Array.from({ length }, () => ({
    tenant: 'default',
    rater: 'ann',
    source: 'comparison',
    created_by: 'key_app',
    at: count++,
    ...origin,
  }));
const vote = (length: number, rater: string) => make(length, { rater });
const give = (length: number, rater: string, created_by = 'key_app') =>
  make(length, { source: 'raw', rater: `user:${rater}`, created_by });
const give1 = (raters: number, created_by = 'key_app') =>
  Array.from({ length: raters }, (_, at) => give(1, `${created_by} ${at}`, created_by)).flat();

const limit = (pairs: Pair[], shares = SHARES) => {
  const over = findOverShare(pairs, shares);
  return pairs.filter((pair) => !over.has(pair));
};
const countOf = (pairs: Pair[], rater: string) => pairs.filter((pair) => pair.rater === rater).length;
const givenBy = (pairs: Pair[], key: string) => pairs.filter((pair) => getGivingKey(pair) === key).length;

test('a cap is the largest number within its share of what is left', () => {
  assert.equal(findCap([10_000, 30, 30, 30], 0.25), 30);
  assert.equal(findCap([10_000, 30, 30, 30, 30], 0.25), 40);
  assert.equal(findCap([10, 10, 10, 10], 0.25), 10);
  assert.equal(findCap([5000], 0.5, 200), 200);
  assert.equal(findCap([5000, 100], 0.5, 200), 300);
  for (const [counts, share, others] of [...sampleCounts(300)]) {
    const fits = (cap: number) => cap <= share * counts.reduce((sum, each) => sum + Math.min(each, cap), others) + 1e-9;
    const largest = Math.max(...Array.from({ length: Math.max(...counts) + 1 }, (_, cap) => cap).filter(fits));
    assert.equal(findCap(counts, share, others), largest, `${counts} ${share} ${others}`);
  }
});

function* sampleCounts(times: number): Generator<[number[], number, number]> {
  const random = mulberry32(1);
  for (let at = 0; at < times; at++) {
    const counts = Array.from({ length: 1 + Math.floor(random() * 12) }, () => 1 + Math.floor(random() ** 3 * 200));
    yield [counts, [0.1, 0.25, 1 / 3, 0.5][at % 4]!, random() < 0.5 ? 0 : Math.floor(random() * 100)];
  }
}

test('a rater has at most its share once there are four, and keeps its first pairs', () => {
  const flood = vote(1000, 'mallory');
  const others = ['ann', 'bob', 'eve'].flatMap((name) => vote(40, name));
  const [both, more] = [limit([...flood, ...others]), limit([...flood, ...others, ...vote(40, 'dan')])];
  assert.equal(countOf(both, 'mallory'), 40);
  assert.equal(countOf(more, 'mallory'), 53);
  assert.deepEqual(more.slice(0, 53), flood.slice(0, 53));
  assert.equal(limit([...flood, ...others.slice(0, 80)]).length, 1080, 'not of three raters');
  assert.equal(limit([...flood, ...others], { rater: 1, source: 1 }).length, 1120);
  const over = findOverShare([...flood, ...others], SHARES);
  assert.deepEqual(new Set(over.values()), new Set(['rater_share']));
});

test('raters of the same name in two tenants are two, and rows of a file that name nobody are of no rater', () => {
  const twice = ['default', 'other'].flatMap((tenant) => make(10, { tenant }));
  assert.equal(new Set(twice.map(getRater)).size, 2);
  const imported = make(500, { source: 'import', rater: 'import', created_by: 'command' });
  assert.equal(getRater(imported[0]!), null);
  const voters = ['a', 'b', 'c', 'd'].flatMap((name) => vote(5, name));
  assert.equal(limit([...imported, ...voters]).length, 520);
});

test('what one key gives as texts is at most half, however many raters it names, if anyone else gave any', () => {
  const crafted = give1(5000, 'key_stolen');
  const voters = ['a', 'b', 'c', 'd', 'e'].flatMap((name) => vote(20, name));
  assert.equal(givenBy(limit([...crafted, ...voters]), 'key_stolen'), 100);
  assert.equal(limit(crafted).length, 5000, 'of nobody else');
  const over = findOverShare([...crafted, ...voters], SHARES);
  assert.deepEqual(new Set(over.values()), new Set(['source_share']));
});

test('neither votes of a key, nor what a command, a server without keys or an older version stored, is limited as a source', () => {
  for (const created_by of ['command', 'anonymous', 'unknown'])
    assert.equal(getGivingKey(make(1, { source: 'import', created_by })[0]!), null);
  assert.equal(getGivingKey(vote(1, 'ann')[0]!), null);
  // The request decided what the response says.
  assert.equal(getGivingKey(make(1, { source: 'generations', isSteered: true })[0]!), 'key_app');
  for (const source of ['raw', 'import', 'demonstration', 'implicit'] as const)
    assert.equal(getGivingKey(make(1, { source, created_by: 'key_1' })[0]!), 'key_1');
});

test('an edit of a rater who signed in counts to the share of that rater, and to no key', () => {
  const [edit] = make(1, { source: 'demonstration', rater: 'rater_1', created_by: 'rater_1' });
  assert.deepEqual([getGivingKey(edit!), getRater(edit!)], [null, getRater(vote(1, 'rater_1')[0]!)]);
  const edits = make(1000, { source: 'demonstration', rater: 'rater_1', created_by: 'rater_1' });
  const others = ['ann', 'bob', 'eve'].flatMap((name) => vote(40, name));
  assert.equal(countOf(limit([...edits, ...others]), 'rater_1'), 40);
});

test('a flood of regenerated responses is at most the share of a source', () => {
  const implicit = Array.from({ length: 1000 }, (_, at) => make(1, { source: 'implicit', rater: `user:${at}` })).flat();
  const voters = ['a', 'b', 'c', 'd'].flatMap((name) => vote(25, name));
  assert.equal(givenBy(limit([...implicit, ...voters]), 'key_app'), 100);
});

test('a key is not limited before four raters vote, and its end users limit none of them', () => {
  const given = give1(5000);
  for (const names of [['a'], ['a', 'b', 'c']]) {
    const voters = names.flatMap((name) => vote(100, name));
    assert.equal(limit([...given, ...voters]).length, 5000 + voters.length, `${names}`);
  }
  assert.equal(limit([...given, ...give1(10, 'key_other')]).length, 5010, 'of two keys');
});

test('a rater with few pairs does not make the round small', () => {
  const team = ['a', 'b', 'c'].flatMap((name) => vote(100, name));
  for (const few of [1, 20, 49]) assert.equal(limit([...team, ...vote(few, 'd')]).length, 300 + few);
  assert.equal(limit([...team, ...vote(60, 'd')]).length, 240, 'a quarter each');
  // A flood is a third of three, not more.
  const flooded = limit([...vote(10_000, 'mallory'), ...team.slice(0, 200), ...vote(20, 'd')]);
  assert.deepEqual([countOf(flooded, 'mallory'), flooded.length], [110, 330]);
});

test('whatever the pairs, afterwards nobody has more than its share, a repetition drops nothing, and something stays', () => {
  const random = mulberry32(7);
  const draw = (max: number) => 1 + Math.floor(random() ** 3 * max);
  for (let at = 0; at < 300; at++) {
    const voters = Array.from({ length: 2 + Math.floor(random() * 8) }, (_, at) => vote(draw(300), `rater ${at}`));
    const keys = Array.from({ length: Math.floor(random() * 3) }, (_, at) =>
      Array.from({ length: draw(40) }, (_, nth) => give(draw(30), `${at} ${nth}`, `key_${at}`)).flat(),
    );
    const pairs = orderInTurns([...voters.flat(), ...keys.flat()]);
    const kept = limit(pairs);
    const raters = Map.groupBy(kept, getRater);
    const largest = Math.max(...[...raters.values()].map(({ length }) => length));
    const counts = [...raters.values()].map(({ length }) => length).sort((a, b) => a - b);
    const median = counts[Math.floor((counts.length - 1) / 2)]!;
    const share = Math.max(1 / 4, 1 / counts.filter((count) => count >= median / 2).length);
    if (raters.size >= 4) assert.ok(largest <= kept.length * share + 1e-9, `${largest} of ${kept.length}`);
    if (voters.length >= 4)
      for (const [key] of keys.entries()) assert.ok(givenBy(kept, `key_${key}`) <= kept.length / 2);
    assert.ok(kept.length >= 4 || raters.size < 4);
    assert.deepEqual(limit(kept), kept);
    assert.deepEqual(new Set(kept.map(({ at }) => at)).size, kept.length);
  }
});

test('in turns, any beginning is spread over keys, and over the raters of each', () => {
  const flood = [...give1(900, 'key_stolen'), ...vote(300, 'mallory'), ...vote(5, 'ann')];
  const signedIn = make(50, { rater: 'rater_1', created_by: 'rater_1' });
  const ordered = orderInTurns([...flood, ...signedIn]);
  assert.deepEqual(new Set(ordered), new Set([...flood, ...signedIn]));
  const first = ordered.slice(0, 30);
  assert.deepEqual(
    ['key_stolen', 'key_app', 'rater_1'].map((key) => first.filter(({ created_by }) => created_by === key).length),
    [10, 10, 10],
  );
  assert.deepEqual([countOf(first, 'mallory'), countOf(first, 'ann')], [5, 5]);
});
