// The body of a request, read whole before its handler runs: within a size, so that nobody fills the memory, and within
// a time, so that nobody holds a connection by sending a byte now and then.

import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { AttuneError } from '../../shared/error.ts';

const PATIENCE = 30;

/** Reads the body; handlers find it in `context.req.text()`. */
export function limitBody(most: number, seconds = PATIENCE): MiddlewareHandler {
  const limit = bodyLimit({
    maxSize: most,
    onError: () => {
      throw new AttuneError(`the body is larger than ${most} bytes; send less, or import preferences, which stream`, {
        status: 413,
        code: 'body_too_large',
      });
    },
  });
  return async (context, next) => {
    const read = limit(context, async () => {
      await context.req.text();
    });
    await within(seconds, read);
    await next();
  };
}

async function within(seconds: number, reading: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const impatience = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late(seconds)), seconds * 1000);
  });
  try {
    await Promise.race([reading, impatience]);
  } catch (error) {
    throw error instanceof AttuneError ? error : new AttuneError('the body broke off', { code: 'incomplete_body' });
  } finally {
    clearTimeout(timer);
  }
}

function late(seconds: number): AttuneError {
  return new AttuneError(`the body did not arrive within ${seconds} seconds; send it faster, or send less`, {
    status: 408,
    code: 'request_timeout',
    retry: true,
  });
}
