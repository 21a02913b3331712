import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSettings, readSettings } from './settings.ts';

test('with nothing set every default holds and the settings cannot be changed', () => {
  const settings = readSettings({ PATH: '/bin', API_KEY: '' });
  assert.equal(settings.HOST, '127.0.0.1');
  assert.equal(settings.OBJECTIVE, 'lsif');
  assert.equal(Object.isFrozen(settings), true);
});

const refusals: [Record<string, string>, RegExp][] = [
  [{ HOST: '0.0.0.0' }, /HOST is 0\.0\.0\.0.*API_KEY/],
  [{ PORT: '70000' }, /^settings: PORT: /],
  [{ OBJECTIVE: 'ppo' }, /^settings: OBJECTIVE: /],
  [{ TRAIN_HELD_OUT: '1.5' }, /^settings: TRAIN_HELD_OUT: /],
  [{ TRAIN_SCHEDULE: 'hourly' }, /TRAIN_SCHEDULE: give a cron of five fields/],
  [{ API_KEY: 'short' }, /^settings: API_KEY: /],
];
for (const [env, message] of refusals) {
  test(`${JSON.stringify(env)} is refused by the variable's name`, () => {
    assert.throws(() => readSettings(env), { name: 'AttuneError', message });
  });
}

test('every setting is described for --help', () => {
  for (const { name, meaning } of describeSettings()) assert.notEqual(meaning, '', name);
});
