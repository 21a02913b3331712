import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seedRandom } from '../decoder/random.ts';
import type { Served } from './compared.ts';
import { checkGuards, GUARD_NAMES, type Guard, type GuardName } from './guards.ts';

const NONE: Served = {
  requests: 0,
  errors: 0,
  load_failures: 0,
  first_tokens: 0,
  first_token_log: 0,
  first_token_log_squares: 0,
  responses: 0,
  length_stops: 0,
  empty: 0,
  length_log: 0,
  length_log_squares: 0,
  repetition: 0,
  repetition_squares: 0,
  thumbs: 0,
  thumbs_up: 0,
};

/** What a healthy policy served: first tokens in 0.1 s, 60 tokens, a few repetitions; half of the thumbs are up. */
function serve(count: number, changes: Partial<Served> = {}): Served {
  const ofNormal = (mean: number, spread: number) => [count * mean, count * (mean ** 2 + spread ** 2)] as const;
  const [first_token_log, first_token_log_squares] = ofNormal(Math.log(0.1), 0.5);
  const [length_log, length_log_squares] = ofNormal(Math.log(61), 0.4);
  const [repetition, repetition_squares] = ofNormal(0.05, 0.1);
  return {
    ...NONE,
    requests: count,
    errors: count / 100,
    first_tokens: count,
    first_token_log,
    first_token_log_squares,
    responses: count,
    length_stops: count / 5,
    empty: 0,
    length_log,
    length_log_squares,
    repetition,
    repetition_squares,
    thumbs: count,
    thumbs_up: count / 2,
    ...changes,
  };
}

const find = (guards: Guard[], name: GuardName) => guards.find((guard) => guard.name === name)!;
const listWorse = (guards: Guard[]) => guards.filter(({ state }) => state === 'worse').map(({ name }) => name);
const BASELINE = serve(3600);

test('every guard is checked, and none acts on a policy that serves as its baseline does', () => {
  const guards = checkGuards(serve(400), BASELINE);
  assert.deepEqual(
    guards.map(({ name }) => name),
    GUARD_NAMES,
  );
  for (const { name, state } of guards) assert.equal(state, 'ok', name);
});

test('with too few observations of either policy a guard waits', () => {
  for (const [candidate, baseline] of [
    [serve(19, { errors: 19 }), BASELINE],
    [serve(400, { errors: 400 }), serve(19)],
    [NONE, NONE],
  ] as const) {
    const guard = find(checkGuards(candidate, baseline), 'errors');
    assert.equal(guard.state, 'waiting');
    assert.equal(guard.difference, null);
    assert.match(guard.message, /observations of the candidate and \d+ of the baseline, of 20 of each$/);
  }
  const none = checkGuards(NONE, NONE);
  assert.ok(none.every(({ state, candidate }) => state === 'waiting' && (candidate === null || candidate === 0)));
});

describe('a guard acts if', () => {
  const count = 400;
  const log = (mean: number, spread: number) => [count * mean, count * (mean ** 2 + spread ** 2)] as const;
  const [slow, slowSquares] = log(Math.log(0.25), 0.5);
  const [long, longSquares] = log(Math.log(150), 0.4);
  const [short, shortSquares] = log(Math.log(20), 0.4);
  const [repeated, repeatedSquares] = log(0.4, 0.2);
  for (const [name, changes, expected, message] of [
    ['one request in eight fails', { errors: count / 8 }, 'errors', /^requests that failed: 12.5%, worse/],
    [
      'the first token takes 2.5 times as long',
      { first_token_log: slow, first_token_log_squares: slowSquares },
      'first_token',
      /^time to the first token: 0.250 s, worse than the baseline’s is 0.100 s/,
    ],
    ['half of the responses are cut', { length_stops: count / 2 }, 'finish_reasons', /^responses that were cut/],
    [
      'responses are 2.5 times as long',
      { length_log: long, length_log_squares: longSquares },
      'length',
      /^length of a response: 149.0 tokens/,
    ],
    [
      'responses are a third as long',
      { length_log: short, length_log_squares: shortSquares },
      'length',
      /a factor of 0.\d\d to 0.\d\d, where 1.50 is tolerated/,
    ],
    [
      'two fifths of the text are repeated',
      { repetition: repeated, repetition_squares: repeatedSquares },
      'repetition',
      /^share of repeated 4-grams: 40.0%/,
    ],
    ['one response in eight is empty', { empty: count / 8 }, 'empty', /^empty responses: 12.5%/],
    ['a fifth of the thumbs is up', { thumbs_up: count / 5 }, 'thumbs', /^thumbs up: 20.0%/],
  ] as const)
    test(name, () => {
      const guards = checkGuards(serve(count, changes), BASELINE);
      assert.deepEqual(listWorse(guards), [expected]);
      const guard = find(guards, expected);
      assert.match(guard.message, message);
      assert.ok(guard.difference && guard.difference.low <= guard.difference.high);
    });

  test('every request of the first twenty fails', () => {
    assert.deepEqual(listWorse(checkGuards({ ...NONE, requests: 20, errors: 20 }, serve(180))), ['errors']);
  });
});

describe('a guard does not act if', () => {
  const count = 4000;
  const first = count * Math.log(0.12);
  for (const [name, changes] of [
    ['one request in fifty fails, and one in a hundred of the baseline', { errors: count / 50 }],
    [
      'the first token takes a fifth longer',
      { first_token_log: first, first_token_log_squares: first * Math.log(0.12) + count * 0.25 },
    ],
    ['a policy is better', { errors: 0, length_stops: 0, thumbs_up: count }],
    ['fewer thumbs are up by two in a hundred', { thumbs_up: 0.48 * count }],
  ] as const)
    test(name, () => assert.deepEqual(listWorse(checkGuards(serve(count, changes), BASELINE)), []));
});

describe('a difference that nobody notices is tolerated, however large its ratio', () => {
  const count = 4000;
  const first = (seconds: number) => {
    const mean = Math.log(seconds);
    return { first_token_log: count * mean, first_token_log_squares: count * (mean ** 2 + 0.04) };
  };
  const tokens = (length: number) => {
    const mean = Math.log1p(length);
    return { length_log: count * mean, length_log_squares: count * (mean ** 2 + 0.04) };
  };
  const listBeside = (candidate: Partial<Served>, baseline: Partial<Served>, isTogether = true) =>
    listWorse(checkGuards(serve(count, candidate), serve(count, baseline), isTogether));

  test('of a few milliseconds, and not of a quarter of a second', () => {
    assert.deepEqual(listBeside(first(0.012), first(0.002)), []);
    assert.deepEqual(listBeside(first(0.1), first(0.01)), []);
    assert.deepEqual(listBeside(first(0.26), first(0.01)), ['first_token']);
    const { tolerance, message } = find(
      checkGuards(serve(count, first(0.012)), serve(count, first(0.002))),
      'first_token',
    );
    assert.ok(Math.abs(Math.exp(tolerance) - 51) < 1e-6);
    assert.match(message, /where 51.00 is tolerated/);
  });

  test('of a few tokens', () => {
    assert.deepEqual(listBeside(tokens(6), tokens(2)), []);
    assert.deepEqual(listBeside(tokens(2), tokens(6)), []);
    assert.deepEqual(listBeside(tokens(40), tokens(2)), ['length']);
    assert.deepEqual(listBeside(tokens(2), tokens(40)), ['length']);
  });

  test('of other hours, in which there is a queue', () => {
    assert.deepEqual(listBeside(first(1), first(0.5)), ['first_token']);
    assert.deepEqual(listBeside(first(20), first(0.5), false), []);
  });

  test('of other hours, in which more requests run out of time', () => {
    assert.deepEqual(listBeside({ requests: count, errors: 0.06 * count }, { requests: count, errors: 0 }), ['errors']);
    assert.deepEqual(listBeside({ requests: count, errors: 0.06 * count }, { requests: count, errors: 0 }, false), []);
    assert.deepEqual(listBeside({ requests: count, errors: 0.5 * count }, { requests: count, errors: 0 }, false), [
      'errors',
    ]);
  });

  test('of other hours, with a batch job of short answers that are cut', () => {
    const batch = { ...tokens(60), length_stops: count * 0.4 };
    assert.deepEqual(listBeside(batch, tokens(150)), ['finish_reasons', 'length']);
    assert.deepEqual(listBeside(batch, tokens(150), false), []);
    const broken = { ...tokens(2), length_stops: count * 0.9 };
    assert.deepEqual(listBeside(broken, tokens(150), false), ['finish_reasons', 'length']);
  });
});

describe('loading', () => {
  const check = (changes: Partial<Served>) => find(checkGuards({ ...NONE, ...changes }, BASELINE), 'loading');

  test('three failures give a candidate up that no process serves', () => {
    assert.equal(check({ load_failures: 2 }).state, 'waiting');
    const guard = check({ load_failures: 3 });
    assert.deepEqual([guard.state, guard.candidate, guard.unit], ['worse', 3, 'count']);
    assert.equal(guard.message, '3 attempts to load it failed, and no process serves it; their log says why');
  });

  test('twenty do where others serve it', () => {
    assert.equal(check({ load_failures: 19, requests: 5 }).state, 'ok');
    assert.equal(check({ load_failures: 20, requests: 5 }).state, 'worse');
  });
});

const RUNS = 1000;
const MINUTES = 150;

/** A minute of equal policies, in which all that is measured varies. */
function addMinute(to: Served, count: number, uniform: () => number): void {
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  for (let i = 0; i < count; i++) {
    to.requests++;
    if (uniform() < 0.02) {
      to.errors++;
      continue;
    }
    const [first, length, repetition] = [-2 + 0.8 * normal(), 4 + 0.5 * normal(), Math.max(0, 0.1 * normal())];
    to.first_tokens++;
    to.first_token_log += first;
    to.first_token_log_squares += first ** 2;
    to.responses++;
    if (uniform() < 0.3) to.length_stops++;
    if (uniform() < 0.02) to.empty++;
    to.length_log += length;
    to.length_log_squares += length ** 2;
    to.repetition += repetition;
    to.repetition_squares += repetition ** 2;
    if (uniform() > 0.2) continue;
    to.thumbs++;
    if (uniform() < 0.6) to.thumbs_up++;
  }
}

describe(`of ${RUNS} canaries of equal policies, with a look in each of ${MINUTES} minutes`, () => {
  test('guards act in under 5%, and would in under 5% if nothing were tolerated', (context) => {
    let [acted, differed] = [0, 0];
    for (let run = 0; run < RUNS; run++) {
      const uniform = seedRandom(run, 0);
      const [candidate, baseline] = [{ ...NONE }, { ...NONE }];
      let [hasActed, hasDiffered] = [false, false];
      for (let minute = 0; minute < MINUTES; minute++) {
        addMinute(candidate, 4, uniform);
        addMinute(baseline, 12, uniform);
        const guards = checkGuards(candidate, baseline);
        hasActed ||= listWorse(guards).length > 0;
        hasDiffered ||= guards.some(({ difference }) => difference && (difference.low > 0 || difference.high < 0));
      }
      if (hasActed) acted++;
      if (hasDiffered) differed++;
    }
    context.diagnostic(`${acted} acted, ${differed} without a tolerance, of ${RUNS}`);
    assert.ok(acted < 0.05 * RUNS, `${acted} acted`);
    assert.ok(differed < 0.05 * RUNS, `${differed} without a tolerance`);
  });
});
