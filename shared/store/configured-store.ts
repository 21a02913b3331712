// The policy store that POLICY_STORE names, from the settings. Wrong keys and a missing bucket are told when it is opened,
// not when a round has trained for an hour; a server that is down for now is not, since what was fetched still serves.

import { AttuneError } from '../error.ts';
import type { Settings } from '../settings.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openS3Store } from './s3.ts';
import type { S3Location } from './s3-client.ts';
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

/** No policy has it. */
const NOBODY = `pol_${'0'.repeat(32)}`;

/** Undefined where POLICY_STORE is not set. */
export async function openRemoteStore(settings: StoreSettings): Promise<PolicyStore | undefined> {
  if (!settings.POLICY_STORE) return undefined;
  const place = readPlace(settings.POLICY_STORE, settings);
  await openS3Store({ ...place, maxAttempts: 1, timeoutMs: 5000 }, fetchByNodeHttp)
    .manifest(NOBODY)
    .catch((error) => {
      if (!(error instanceof AttuneError && error.retry)) throw error;
    });
  return openS3Store(place, fetchByNodeHttp);
}

function readPlace(store: string, settings: StoreSettings): S3Location {
  const [, bucket, prefix] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(store)!;
  const region = settings.AWS_REGION;
  if (!settings.AWS_ENDPOINT_URL && region === 'auto')
    throw wrong(
      'AWS_REGION',
      'is not set; give the region of the bucket, or AWS_ENDPOINT_URL where it is not Amazon’s',
    );
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const)
    if (!settings[name]) throw wrong(name, `is not set; POLICY_STORE is ${store}, which wants a key`);
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

function wrong(setting: string, problem: string): AttuneError {
  return new AttuneError(`settings: ${setting} ${problem}`, { code: 'invalid_settings' });
}
