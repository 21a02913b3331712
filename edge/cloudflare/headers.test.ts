import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyEndToEndHeaders } from './headers.ts';

test('copies all headers except hop-by-hop ones and Cloudflare’s own', () => {
  const copied = copyEndToEndHeaders(
    new Headers({
      accept: '*/*',
      authorization: 'Bearer k',
      'cf-ray': '1',
      connection: 'keep-alive, X-Hop',
      'content-length': '3',
      host: 'here',
      te: 'trailers',
      'transfer-encoding': 'chunked',
      'x-hop': '1',
      'x-ratelimit-limit-requests': '5',
    }),
  );
  assert.deepEqual([...copied.keys()], ['accept', 'authorization', 'x-ratelimit-limit-requests']);
});
