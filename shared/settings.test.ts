import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSettings, readSettings } from './settings.ts';

test('an empty environment gives the defaults in a frozen object', () => {
  const settings = readSettings({ PATH: '/bin', API_KEY: '' });
  assert.equal(settings.HOST, '127.0.0.1');
  assert.equal(settings.OBJECTIVE, 'bce');
  assert.equal(Object.isFrozen(settings), true);
});

const rejections: [Record<string, string>, RegExp][] = [
  [{ HOST: '0.0.0.0' }, /HOST is 0\.0\.0\.0.*API_KEY/],
  [{ PORT: '70000' }, /^settings: PORT: /],
  [{ OBJECTIVE: 'ppo' }, /^settings: OBJECTIVE: /],
  [{ TRAIN_HELD_OUT: '1.5' }, /^settings: TRAIN_HELD_OUT: /],
  [{ TRAIN_SCHEDULE: 'hourly' }, /TRAIN_SCHEDULE: give a cron of five fields/],
  [{ TRAIN_SCHEDULE: '99 99 * * *' }, /TRAIN_SCHEDULE: give a cron whose five fields are in range/],
  [{ TRAIN_SCHEDULE: '0 0 31 2 *' }, /TRAIN_SCHEDULE/],
  [{ API_KEY: 'short' }, /^settings: API_KEY: /],
  [{ API_KEY: 'long-enough,short' }, /^settings: API_KEY: give 8 or more/],
  [{ API_KEY: 'long-enough,' }, /^settings: API_KEY: /],
  [{ API_KEY: 'the-same-key,the-same-key' }, /^settings: API_KEY: a key is listed twice/],
  [{ REQUEST_TIMEOUT: '0' }, /^settings: REQUEST_TIMEOUT: /],
  [{ KV_MEMORY: '1GB' }, /^settings: KV_MEMORY: /],
];
for (const [env, message] of rejections) {
  test(`rejects ${JSON.stringify(env)} with the name of the variable`, () => {
    assert.throws(() => readSettings(env), { name: 'AttuneError', message });
  });
}

test('several API keys are separated by commas', () => {
  assert.deepEqual(readSettings({ API_KEY: 'one-secret-key, another-key' }).API_KEY, ['one-secret-key', 'another-key']);
});

test('every setting has a description for --help', () => {
  for (const { name, description } of describeSettings()) assert.notEqual(description, '', name);
});
