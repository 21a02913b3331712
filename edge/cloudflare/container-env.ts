// What the container is started with: the Worker's own settings, with what only the container needs. Hyperdrive and the R2
// binding do not reach it, so it has Postgres's own URL and R2's S3 endpoint, both secrets of the Worker.

import { describeSettings } from '../../shared/settings.ts';

export const CONTAINER_PORT = 8787;

const REQUIRED = [
  'DATABASE_URL',
  'API_KEY',
  'POLICY_STORE',
  'AWS_ENDPOINT_URL',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
];
/** The Worker's alone, or said here. */
const EXCLUDED = new Set(['HOST', 'PORT', 'ATTUNE_HOME', 'INFERENCE_URL', 'WORKER_POLICY_BYTES', 'CONTAINERS']);
const EXTRA_VARIABLES = ['HF_ENDPOINT', 'HF_TOKEN'];

export function readContainerEnv(env: Record<string, unknown>): {
  variables: Record<string, string>;
  missing: string[];
} {
  const variables: Record<string, string> = { HOST: '0.0.0.0', PORT: String(CONTAINER_PORT) };
  for (const name of [...describeSettings().map((setting) => setting.name), ...EXTRA_VARIABLES]) {
    const value = env[name];
    if (EXCLUDED.has(name) || !['string', 'number'].includes(typeof value) || value === '') continue;
    variables[name] = String(value);
  }
  return { variables, missing: REQUIRED.filter((name) => variables[name] === undefined) };
}
