// The policy store that POLICY_STORE names. Invalid keys and a missing bucket fail when it is opened, not after a round
// has trained for an hour; an unreachable server does not, since local copies can still be served.

import { AttuneError } from '../error.ts';
import type { Settings } from '../settings.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openS3Store } from './s3.ts';
import type { S3Location } from './s3-protocol.ts';
import type { PolicyStore } from './store.ts';

type StoreSettings = Pick<
  Settings,
  | 'POLICY_STORE'
  | 'AWS_ENDPOINT_URL'
  | 'AWS_REGION'
  | 'AWS_ACCESS_KEY_ID'
  | 'AWS_SECRET_ACCESS_KEY'
  | 'AWS_SESSION_TOKEN'
>;

/** An id that no policy has: requesting it tests the connection and the permissions. */
export const UNUSED_ID = `pol_${'0'.repeat(32)}`;
const TEST_TIMEOUT_MS = 5000;

/** Undefined without POLICY_STORE. */
export async function openRemoteStore(settings: StoreSettings): Promise<PolicyStore | undefined> {
  if (!settings.POLICY_STORE) return undefined;
  const location = readLocation(settings.POLICY_STORE, settings);
  await openS3Store({ ...location, maxAttempts: 1, timeoutMs: TEST_TIMEOUT_MS }, fetchByNodeHttp)
    .manifest(UNUSED_ID)
    .catch((error) => {
      if (!(error instanceof AttuneError && error.retry)) throw error;
    });
  return openS3Store(location, fetchByNodeHttp);
}

function readLocation(store: string, settings: StoreSettings): S3Location {
  const [, bucket, prefix] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(store)!;
  const region = settings.AWS_REGION;
  if (!settings.AWS_ENDPOINT_URL && region === 'auto')
    throw invalidSetting(
      'AWS_REGION',
      'is not set; set it to the region of the bucket, or set AWS_ENDPOINT_URL if it is not Amazon’s',
    );
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const)
    if (!settings[name]) throw invalidSetting(name, `is not set; POLICY_STORE is ${store}, which requires a key`);
  return {
    bucket: bucket!,
    prefix: prefix!.replace(/\/+$/, ''),
    endpoint: (settings.AWS_ENDPOINT_URL ?? `https://s3.${region}.amazonaws.com`).replace(/\/+$/, ''),
    region,
    accessKeyId: settings.AWS_ACCESS_KEY_ID!,
    secretAccessKey: settings.AWS_SECRET_ACCESS_KEY!,
    sessionToken: settings.AWS_SESSION_TOKEN,
  };
}

function invalidSetting(name: string, problem: string): AttuneError {
  return new AttuneError(`settings: ${name} ${problem}`, { code: 'invalid_settings' });
}
