import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listPlans } from './config.ts';
import { averageRuns, compareFactor, compareMethods, formatCsv, groupByMethod, meanPath } from './frontier.ts';
import type { OnlineRun } from './loop.ts';
import { makeRun } from './testing/run.ts';

test('a factor is compared over pairs of runs that are equal otherwise', () => {
  const runs = [
    makeRun({ seed: 1 }, [[2, 0.6]]),
    makeRun({ seed: 1, reduction: 'sum' }, [[2, 0.7]]),
    makeRun({ seed: 2 }, [[2, 0.5]]),
    makeRun({ seed: 2, reduction: 'sum' }, [[2, 0.56]]),
    // Without a partner, and one that does not reach the KL.
    makeRun({ seed: 3 }, [[2, 0.9]]),
    makeRun({ seed: 4 }, [[2, 0.9]]),
    makeRun({ seed: 4, reduction: 'sum' }, [[1, 0.9]]),
  ];
  const { difference, pairs, dropped } = compareFactor(runs, 'reduction', 'mean', 'sum', 2);
  assert.deepEqual([difference.count, pairs, dropped], [2, 2, 1]);
  assert.ok(Math.abs(difference.value - 0.08) < 1e-12);
  assert.ok(Math.abs(difference.error! - 0.02) < 1e-12);
});

test('the mean path of a method begins at the root and adds up the changes of the chosen log-probability', () => {
  const [method] = groupByMethod([
    makeRun({ seed: 1 }, [
      [1, 0.6],
      [3, 0.8],
    ]),
    makeRun({ seed: 2 }, [
      [3, 0.5],
      [5, 0.7],
    ]),
  ]);
  const path = meanPath(method!).map(({ kl, winRate, chosen }) => [kl, winRate.toFixed(2), chosen]);
  assert.deepEqual(path, [
    [0, '0.50', 0],
    [2, '0.55', -1],
    [4, '0.75', -2],
  ]);
});

test('the table has a line for each round, in an order that does not depend on that of the runs', () => {
  const runs = [makeRun({ seed: 2 }, [[1, 0.5]]), makeRun({ seed: 1 }, [[1, 0.5]])];
  const [plan] = listPlans(1e-4);
  const format = (runs: OnlineRun[]) => formatCsv([{ plan: plan!, runs, missing: [] }]);
  assert.equal(format(runs), format(runs.toReversed()));
  const lines = format(runs).trim().split('\n');
  assert.equal(lines.length, 3);
  assert.equal(lines[1]!.split(',').length, lines[0]!.split(',').length);
});

test('a round whose held-out pairs are all ties has empty cells', () => {
  const run = makeRun({}, [[1, 0.99]]);
  Object.assign(run.rounds[0]!, { chosenChange: null, rejectedChange: null, earlierMargins: [null] });
  const [plan] = listPlans(1e-4);
  assert.match(formatCsv([{ plan: plan!, runs: [run], missing: [] }]), /,10\.000,,,\n$/);
});

test('runs of one replicate are one observation, and a single one has no error', () => {
  const runs = [makeRun({ seed: 1 }, [[1, 0.5]]), makeRun({ seed: 1, reduction: 'sum' }, [[1, 0.7]])];
  const winRate = (run: OnlineRun) => run.rounds[0]!.winRate;
  assert.deepEqual(averageRuns(runs, winRate), { value: 0.6, error: null, count: 1 });
  const other = makeRun({ seed: 2 }, [[1, 0.8]]);
  const { value, error, count } = averageRuns([...runs, other], winRate);
  assert.ok(Math.abs(value - 0.7) < 1e-12 && Math.abs(error! - 0.1) < 1e-12 && count === 2);
});

test('a method’s lead is over the KLs that both pass, in the replicates that both have', () => {
  const [sum, mean] = groupByMethod([
    makeRun({ seed: 1, reduction: 'sum' }, [[4, 0.7]]),
    makeRun({ seed: 2, reduction: 'sum' }, [[4, 0.8]]),
    makeRun({ seed: 1 }, [[1, 0.55]]),
    makeRun({ seed: 3 }, [[4, 0.9]]),
  ]);
  const { value, error, count } = compareMethods(sum!, mean!)!;
  // Of one replicate: the lead grows from 0 to 0.05 at KL 1.
  assert.ok(Math.abs(value - 0.025) < 1e-3 && error === null && count === 1);
  assert.equal(compareMethods(sum!, { ...mean!, runs: [] }), null);
});
