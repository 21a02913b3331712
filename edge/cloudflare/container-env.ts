// The container's environment: the Worker's settings plus what only the container needs. The Hyperdrive and R2 bindings
// cannot be passed on, so the container gets Postgres's own URL and R2's S3 endpoint, which are secrets of the Worker.

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
/** Variables that apply to the Worker only, or that are set here. */
const EXCLUDED = new Set(['HOST', 'PORT', 'ATTUNE_HOME', 'INFERENCE_URL', 'WORKER_POLICY_BYTES', 'CONTAINERS']);
const EXTRA_VARIABLES = ['HF_ENDPOINT', 'HF_TOKEN'];

/** The container's variables, and the required ones that the Worker lacks. */
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
