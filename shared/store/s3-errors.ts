// Errors of an S3-compatible server or of the connection to it, as messages that name the setting to fix.

import { AttuneError } from '../error.ts';
import type { S3Location, S3Request, S3Response } from './s3-protocol.ts';

/** No response, or only a part of one; a retry may succeed. */
export function toUnreachableError({ endpoint }: S3Location, error: unknown): AttuneError {
  if (error instanceof AttuneError) return error;
  // fetch and an aborted request have the reason as their cause.
  const failure = (
    error instanceof Error && error.cause instanceof Error ? error.cause : error
  ) as NodeJS.ErrnoException;
  return unreachable(
    `${endpoint} cannot be reached (${failure.code ?? failure.message}); check AWS_ENDPOINT_URL and the network`,
  );
}

/** A request that the server rejected, by the error code; by the status if a proxy or another server responded. */
export function toS3Error(location: S3Location, request: S3Request, response: S3Response): AttuneError {
  const { bucket, endpoint, region, accessKeyId } = location;
  const { status, code, message } = response;
  const operation = `${request.method} ${request.key ?? bucket}`;
  if (status >= 500 || status === 429)
    return unreachable(
      `${endpoint} responded to ${operation} with ${status} ${code}; it is overloaded or failing, retry later`,
    );
  switch (code) {
    case 'InvalidAccessKeyId':
    case 'XAdminUserNotFound': // versitygw's code
      return rejected('AWS_ACCESS_KEY_ID', `${endpoint} has no key ${accessKeyId}; use a key of this server`);
    case 'SignatureDoesNotMatch':
      return rejected('AWS_SECRET_ACCESS_KEY', `wrong secret for key ${accessKeyId}; use the secret of that key`);
    case 'InvalidToken':
    case 'ExpiredToken':
      return rejected('AWS_SESSION_TOKEN', `rejected by ${endpoint} (${code}); get new credentials`);
    case 'AuthorizationHeaderMalformed':
    case 'PermanentRedirect':
    case 'IllegalLocationConstraintException':
      return rejected('AWS_REGION', `${region} is not the region of bucket ${bucket} (${message})`);
    case 'RequestTimeTooSkewed':
      return rejected('POLICY_STORE', `the clocks of this machine and of ${endpoint} differ; synchronize them`);
    case 'NoSuchBucket':
      return rejected('POLICY_STORE', `${endpoint} has no bucket ${bucket}; create it, or name another`);
    case 'NotImplemented':
      return rejected('POLICY_STORE', `${endpoint} does not implement ${operation} (${message}); use another server`);
    case 'XAmzContentSHA256Mismatch':
    case 'BadDigest':
      return unreachable(`${request.key} arrived damaged at ${endpoint} at each attempt; check the network`);
  }
  if (status === 401 || status === 403)
    return rejected(
      'POLICY_STORE',
      `key ${accessKeyId} has no permission for ${operation} in bucket ${bucket} (${status} ${code}); allow it to read, write and list there`,
    );
  if (code === '' && status !== 412)
    return rejected(
      'AWS_ENDPOINT_URL',
      `${endpoint} responded to ${operation} with ${status} but is not an S3 server; check the URL`,
    );
  return rejected('POLICY_STORE', `${endpoint} responded to ${operation} with ${status} ${code} (${message})`);
}

function unreachable(problem: string): AttuneError {
  return new AttuneError(`POLICY_STORE: ${problem}`, { status: 503, code: 'policy_store_unreachable' });
}

function rejected(setting: string, problem: string): AttuneError {
  return new AttuneError(`${setting}: ${problem}`, { status: 500, code: 'policy_store_refused', retry: false });
}
