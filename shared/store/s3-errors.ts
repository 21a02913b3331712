// What an S3-compatible server or the way to it says, in words that name the setting to mend.

import { AttuneError } from '../error.ts';
import type { S3Location, S3Request, S3Response } from './s3-client.ts';

/** Nothing came back, or only a part of it. Later it may. */
export function unreachableError({ endpoint }: S3Location, error: unknown): AttuneError {
  if (error instanceof AttuneError) return error;
  // fetch tells the reason as a cause, and so does a request that we gave up.
  const failure = (
    error instanceof Error && error.cause instanceof Error ? error.cause : error
  ) as NodeJS.ErrnoException;
  const reason = failure.code ?? failure.message;
  return new AttuneError(
    `POLICY_STORE: ${endpoint} cannot be reached (${reason}); check AWS_ENDPOINT_URL and the network`,
    { status: 503, code: 'policy_store_unreachable' },
  );
}

/** What the server refused; by its code, or where a proxy or another server answers without one, by the status. */
export function toS3Error(place: S3Location, request: S3Request, answer: S3Response): AttuneError {
  const { bucket, endpoint, region, accessKeyId } = place;
  const { status, code, text } = answer;
  const said = /<Message>([^<]*)<\/Message>/.exec(text)?.[1] ?? '';
  const what = `${request.method} ${request.key ?? bucket}`;
  if (status >= 500 || status === 429)
    return new AttuneError(
      `POLICY_STORE: ${endpoint} answered ${status} ${code} to ${what}; it is overloaded or broken, try again later`,
      { status: 503, code: 'policy_store_unreachable' },
    );
  switch (code) {
    case 'InvalidAccessKeyId':
    case 'XAdminUserNotFound': // as versitygw has it
      return wrong('AWS_ACCESS_KEY_ID', `${endpoint} knows no key ${accessKeyId}; give one of this server`);
    case 'SignatureDoesNotMatch':
      return wrong(
        'AWS_SECRET_ACCESS_KEY',
        `it is not the secret of key ${accessKeyId}; give the one that belongs to it`,
      );
    case 'InvalidToken':
    case 'ExpiredToken':
      return wrong('AWS_SESSION_TOKEN', `${endpoint} does not take it any more (${code}); fetch new keys`);
    case 'AuthorizationHeaderMalformed':
    case 'PermanentRedirect':
    case 'IllegalLocationConstraintException':
      return wrong('AWS_REGION', `${region} is not the region of bucket ${bucket} (${said})`);
    case 'RequestTimeTooSkewed':
      return wrong('POLICY_STORE', `the clock of this machine is not that of ${endpoint}; set it right`);
    case 'NoSuchBucket':
      return wrong('POLICY_STORE', `${endpoint} has no bucket ${bucket}; make it, or name another`);
    case 'NotImplemented':
      return wrong('POLICY_STORE', `${endpoint} does not implement ${what} (${said}); take a server that does`);
    case 'XAmzContentSHA256Mismatch':
    case 'BadDigest':
      return new AttuneError(
        `POLICY_STORE: ${request.key} arrived damaged at ${endpoint} each time; check the network`,
        {
          status: 503,
          code: 'policy_store_unreachable',
        },
      );
  }
  if (status === 401 || status === 403)
    return wrong(
      'POLICY_STORE',
      `key ${accessKeyId} may not do ${what} in bucket ${bucket} (${status} ${code}); check AWS_ACCESS_KEY_ID, and let it read, write and list there`,
    );
  if (code === '' && status !== 412)
    return wrong(
      'AWS_ENDPOINT_URL',
      `${endpoint} answered ${status} to ${what}, and not as an S3 server does; check it`,
    );
  return wrong('POLICY_STORE', `${endpoint} answered ${status} ${code} to ${what} (${said})`);
}

function wrong(setting: string, problem: string): AttuneError {
  return new AttuneError(`${setting}: ${problem}`, { status: 500, code: 'policy_store_refused', retry: false });
}
