import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readContainerEnv } from './container-env.ts';

test('the container gets the Worker’s settings and its own address', () => {
  const { variables, missing } = readContainerEnv({
    DATABASE_URL: 'postgres://db.example/attune',
    API_KEY: 'sk-secret-one',
    POLICY_STORE: 's3://policies',
    AWS_ENDPOINT_URL: 'https://s3.example',
    AWS_ACCESS_KEY_ID: 'id',
    AWS_SECRET_ACCESS_KEY: 'secret',
    MAX_ROWS: 8,
    PRECISION: '',
    HOST: '127.0.0.1',
    INFERENCE_URL: 'https://edge.example',
    POLICIES: { get() {} },
    ELSE: 'not a setting',
  });
  assert.deepEqual(missing, []);
  assert.deepEqual(variables, {
    HOST: '0.0.0.0',
    PORT: '8787',
    DATABASE_URL: 'postgres://db.example/attune',
    API_KEY: 'sk-secret-one',
    POLICY_STORE: 's3://policies',
    AWS_ENDPOINT_URL: 'https://s3.example',
    AWS_ACCESS_KEY_ID: 'id',
    AWS_SECRET_ACCESS_KEY: 'secret',
    MAX_ROWS: '8',
  });
});

test('names required variables that are missing', () => {
  const { missing } = readContainerEnv({
    API_KEY: 'sk-secret-one',
    POLICY_STORE: 's3://policies',
    AWS_ENDPOINT_URL: '',
  });
  assert.deepEqual(missing, ['DATABASE_URL', 'AWS_ENDPOINT_URL', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']);
});
