// Requests to an S3-compatible server: signed, given up when nothing comes, and sent again where that can help. What it
// answers otherwise becomes an error that names the setting to mend.

import { AwsV4Signer } from 'aws4fetch';
import { toS3Error, unreachableError } from './s3-errors.ts';

export type S3Location = {
  bucket: string;
  /** Without slashes at its ends; '' for none. */
  prefix: string;
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** How often a request is sent at most; 6 unless told. */
  maxAttempts?: number;
  /** Milliseconds that a server may be silent; 30,000 unless told. */
  timeoutMs?: number;
};

/** `fetch`, or what does the same. */
export type Fetch = (
  url: URL,
  init: { method: string; headers: Headers; body?: Uint8Array<ArrayBuffer>; signal: AbortSignal },
) => Promise<Response>;

export type S3Request = {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Below the prefix; without one it is about the bucket. */
  key?: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer>;
  /** of the body, in hex */
  sha256?: string;
  /** The code of an error that is an answer here. */
  expectsCode?: string | undefined;
  /** The body of a success is not read but handed on. */
  isStreamed?: boolean;
};

export type S3Response = {
  status: number;
  headers: Headers;
  /** The whole body, unless it is streamed. */
  text: string;
  body: ReadableStream<Uint8Array> | null;
  /** What `<Code>` says in an error. */
  code: string;
};

export type S3Client = {
  location: S3Location;
  send(request: S3Request): Promise<S3Response>;
  /** Waits before the next attempt; throws the error instead where there have been enough. */
  backOff(attempt: number, error: unknown): Promise<void>;
  /** Throws where the promise takes longer than a server may be silent. */
  withTimeout<T>(promise: Promise<T>): Promise<T>;
};

/** What the slowest line carries while a server may be silent. */
const SLOW_BYTES = 2 * 2 ** 20;
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** Errors in requests that were right when they left: they were damaged or cut on their way, or came at a bad moment. */
const PASSING = new Set([
  'RequestTimeout',
  'IncompleteBody',
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'ConditionalRequestConflict',
  'OperationAborted',
  'SlowDown',
  // Also said in a 200, where joining the parts of an upload took long.
  'InternalError',
  'ServiceUnavailable',
]);

export function createS3Client(place: S3Location, ask: Fetch): S3Client {
  const {
    maxAttempts: attempts = 6,
    timeoutMs: patience = 30_000,
    accessKeyId,
    secretAccessKey,
    sessionToken,
    region,
  } = place;
  /** What a signature is made with, by day. */
  const cache = new Map<string, ArrayBuffer>();

  async function send(request: S3Request): Promise<S3Response> {
    for (let attempt = 1; ; attempt++) {
      const answer = await sendOnce(request).catch(async (error) => {
        await wire.backOff(attempt, error);
        return null;
      });
      if (!answer) continue;
      const { status, code } = answer;
      const isTrouble = status >= 500 || status === 429 || PASSING.has(code);
      if (!isTrouble && (code === '' ? status < 300 : code === request.expectsCode)) return answer;
      const error = toS3Error(place, request, answer);
      if (!isTrouble) throw error;
      await wire.backOff(attempt, error);
    }
  }

  async function sendOnce({ method, key, query, headers, body, sha256, isStreamed }: S3Request): Promise<S3Response> {
    // A slow line needs longer for a body: two and a half minutes for a part of 8 MiB.
    const abandon = new AbortController();
    const timeout = patience * (1 + (body?.length ?? 0) / SLOW_BYTES);
    const silence = new Error(`no answer in ${Math.round(timeout / 1000)} s`);
    const signer = new AwsV4Signer({
      url: urlOf(place, key, query),
      method,
      headers: { ...headers, 'x-amz-content-sha256': sha256 ?? EMPTY },
      accessKeyId,
      secretAccessKey,
      sessionToken,
      region,
      service: 's3',
      cache,
    });
    const signed = await signer.sign();
    const timer = setTimeout(() => abandon.abort(silence), timeout);
    try {
      const response = await ask(signed.url, { method, headers: signed.headers, body, signal: abandon.signal });
      const streamed = isStreamed === true && response.ok;
      const text = streamed ? '' : await response.text();
      const code = /<Error>[\s\S]*?<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? '';
      return { status: response.status, headers: response.headers, text, body: streamed ? response.body : null, code };
    } catch (error) {
      throw unreachableError(place, error);
    } finally {
      clearTimeout(timer);
    }
  }

  const wire: S3Client = {
    location: place,
    send,
    async backOff(attempt, error) {
      if (attempt >= attempts) throw error;
      // Not all at once: many edges lose the server at the same moment.
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt * (0.5 + Math.random())));
    },
    async withTimeout(promise) {
      let timer: ReturnType<typeof setTimeout>;
      const silence = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(unreachableError(place, new Error(`no byte in ${patience / 1000} s`))),
          patience,
        );
      });
      return Promise.race([promise, silence]).finally(() => clearTimeout(timer));
    },
  };
  return wire;
}

function urlOf({ endpoint, bucket, prefix }: S3Location, key?: string, query?: Record<string, string>): string {
  const parts = key === undefined ? [bucket] : [bucket, ...prefix.split('/').filter(Boolean), ...key.split('/')];
  const search = query ? `?${new URLSearchParams(query)}` : '';
  return `${endpoint}/${parts.map(encodeURIComponent).join('/')}${search}`;
}
