// Buffers the body of a request before its handler runs, within a size limit, so that a request cannot exhaust memory,
// and a time limit, so that a slow client cannot hold a connection.

import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { AttuneError } from '../../shared/error.ts';
import { awaitBody } from '../http/await-body.ts';

const BODY_TIMEOUT_SECONDS = 30;

/** The handler reads the body with `context.req.text()`. */
export function limitBody(maxBytes: number, timeoutSeconds = BODY_TIMEOUT_SECONDS): MiddlewareHandler {
  const limit = bodyLimit({
    maxSize: maxBytes,
    onError: () => {
      throw new AttuneError(
        `the body is larger than ${maxBytes} bytes; send less, or use POST /v1/preferences/import, which streams`,
        { status: 413, code: 'body_too_large' },
      );
    },
  });
  return async (context, next) => {
    const read = limit(context, async () => {
      await context.req.text();
    });
    await awaitBody(read, timeoutSeconds * 1000, {
      tooSlow: `the body did not arrive within ${timeoutSeconds} seconds; send it faster, or send less`,
      incomplete: 'the connection ended before the whole body arrived',
    });
    await next();
  };
}
