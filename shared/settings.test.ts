import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSettings, listSettings, readSettings } from './settings.ts';

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

test('what is in force says whence it is: the environment, a preset, or the default', () => {
  const settings = readSettings({ PRESET: 'paper', BETA: '2', PORT: '9000', CORS_ORIGINS: '' });
  const inForce = new Map(listSettings(settings).map((setting) => [setting.name, setting]));
  const tell = (name: string) => {
    const { value, default: fallback, source } = inForce.get(name)!;
    return [value, fallback, source];
  };
  assert.deepEqual(tell('PORT'), ['9000', '8787', 'environment']);
  assert.deepEqual(tell('BETA'), ['2', null, 'environment']);
  assert.deepEqual(tell('OBJECTIVE'), ['lsif', 'bce', 'preset']);
  assert.deepEqual(tell('HOST'), ['127.0.0.1', '127.0.0.1', 'default']);
  assert.deepEqual(tell('CORS_ORIGINS'), [null, null, 'default']);
  assert.equal(inForce.size, describeSettings().length);
});

test('secrets are not told, nor what a URL may hold of one', () => {
  const env = {
    API_KEY: 'long-enough-key',
    DATABASE_URL: 'postgres://user:pass-word@host/name',
    WEBHOOK_URL: 'https://user:pass-word@hooks.example.com/services/token-in-path?key=token-in-query',
    WEBHOOK_SECRET: `whsec_${'A'.repeat(32)}`,
    AWS_ACCESS_KEY_ID: 'access-key',
    AWS_SECRET_ACCESS_KEY: 'secret-key',
    AWS_SESSION_TOKEN: 'session-token',
    INFERENCE_URL: 'https://edge.example.com',
  };
  const listed = listSettings(readSettings(env));
  const text = JSON.stringify(listed);
  for (const secret of ['long-enough', 'pass-word', 'token-in', 'AAAA', 'access-key', 'secret-key', 'session-token'])
    assert.ok(!text.includes(secret), secret);
  const values = new Map(listed.map(({ name, value }) => [name, value]));
  assert.equal(values.get('WEBHOOK_URL'), 'https://hooks.example.com/…');
  assert.equal(values.get('INFERENCE_URL'), 'https://edge.example.com');
  const suspicious = listed.filter(({ name }) => /KEY|SECRET|TOKEN|PASSWORD|DATABASE/.test(name));
  assert.deepEqual(
    suspicious.filter(({ secret }) => !secret).map(({ name }) => name),
    ['TOKENS_PER_MINUTE', 'WRONG_KEYS_PER_MINUTE'],
  );
});
