// Signed requests to an S3-compatible server, with timeouts and retries. A response that neither succeeds nor has the
// expected error code is thrown as an error that names the setting to fix.

import { AwsV4Signer } from 'aws4fetch';
import { toS3Error, toUnreachableError } from './s3-errors.ts';
import { childText, parseS3Xml, type S3Location, type S3Request, type S3Response } from './s3-protocol.ts';

/** `fetch`, or a replacement for it (node-http.ts). */
export type Fetch = (
  url: URL,
  init: { method: string; headers: Headers; body?: Uint8Array<ArrayBuffer>; signal: AbortSignal },
) => Promise<Response>;

export type S3Client = {
  location: S3Location;
  send(request: S3Request): Promise<S3Response>;
  /** Waits before the next attempt, or throws the error after the last one. */
  backOff(attempt: number, error: unknown): Promise<void>;
  /** Rejects if the promise takes longer than `timeoutMs`. */
  withTimeout<T>(promise: Promise<T>): Promise<T>;
};

/** A request body extends the timeout: a slow connection may take `timeoutMs` for each of these. */
const BYTES_PER_TIMEOUT = 2 * 2 ** 20;
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** Errors of valid requests: damaged or cut in transit, or rejected temporarily. */
const RETRYABLE_CODES = new Set([
  'RequestTimeout',
  'IncompleteBody',
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'ConditionalRequestConflict',
  'OperationAborted',
  'SlowDown',
  // Can come with status 200, if joining the parts of an upload took long.
  'InternalError',
  'ServiceUnavailable',
]);

export function createS3Client(location: S3Location, fetch: Fetch): S3Client {
  const { maxAttempts = 6, timeoutMs = 30_000, accessKeyId, secretAccessKey, sessionToken, region } = location;
  /** Signing keys, which change daily. */
  const cache = new Map<string, ArrayBuffer>();

  async function send(request: S3Request): Promise<S3Response> {
    for (let attempt = 1; ; attempt++) {
      const response = await sendOnce(request).catch(async (error) => {
        await client.backOff(attempt, error);
        return null;
      });
      if (!response) continue;
      const { status, code } = response;
      const isRetryable = status >= 500 || status === 429 || RETRYABLE_CODES.has(code);
      if (!isRetryable && (code === '' ? status < 300 : code === request.expectsCode)) return response;
      const error = toS3Error(location, request, response);
      if (!isRetryable) throw error;
      await client.backOff(attempt, error);
    }
  }

  async function sendOnce({ method, key, query, headers, body, sha256, isStreamed }: S3Request): Promise<S3Response> {
    const signer = new AwsV4Signer({
      url: toUrl(location, key, query),
      method,
      headers: { ...headers, 'x-amz-content-sha256': sha256 ?? EMPTY_SHA256 },
      accessKeyId,
      secretAccessKey,
      sessionToken,
      region,
      service: 's3',
      cache,
    });
    const signed = await signer.sign();
    // Two and a half minutes for a part of 8 MiB.
    const requestTimeoutMs = timeoutMs * (1 + (body?.length ?? 0) / BYTES_PER_TIMEOUT);
    const abort = new AbortController();
    const timer = setTimeout(
      () => abort.abort(new Error(`no response in ${Math.round(requestTimeoutMs / 1000)} s`)),
      requestTimeoutMs,
    );
    try {
      const response = await fetch(signed.url, { method, headers: signed.headers, body, signal: abort.signal });
      const { status, headers } = response;
      if (isStreamed && response.ok) return { status, headers, xml: null, body: response.body, code: '', message: '' };
      const xml = parseS3Xml(await response.text());
      const error = xml?.name === 'Error' ? xml : null;
      const [code, message] = [childText(error, 'Code'), childText(error, 'Message')];
      return { status, headers, xml, body: null, code, message };
    } catch (error) {
      throw toUnreachableError(location, error);
    } finally {
      clearTimeout(timer);
    }
  }

  const client: S3Client = {
    location,
    send,
    async backOff(attempt, error) {
      if (attempt >= maxAttempts) throw error;
      // With jitter, since many edges lose the server at the same moment.
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt * (0.5 + Math.random())));
    },
    async withTimeout(promise) {
      let timer: ReturnType<typeof setTimeout>;
      const timeout = new Promise<never>((_, reject) => {
        const error = toUnreachableError(location, new Error(`no data for ${timeoutMs / 1000} s`));
        timer = setTimeout(() => reject(error), timeoutMs);
      });
      return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
    },
  };
  return client;
}

function toUrl({ endpoint, bucket, prefix }: S3Location, key?: string, query?: Record<string, string>): string {
  const parts = key === undefined ? [bucket] : [bucket, ...prefix.split('/').filter(Boolean), ...key.split('/')];
  const search = query ? `?${new URLSearchParams(query)}` : '';
  return `${endpoint}/${parts.map(encodeURIComponent).join('/')}${search}`;
}
