// Bounds how long a request may take until its response begins, so that none waits longer for Postgres, whatever stalls.
// The work goes on after the limit and may still be committed, which the response says.

import type { MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { outcomeUnknown } from '../../shared/postgres-errors.ts';
import type { Settings } from '../../shared/settings.ts';

/** More than one statement may wait (shared/database/connect.ts), so that its own error, which knows more, comes first. */
const TIME_LIMIT_SECONDS = 30;
/** After REQUEST_TIMEOUT; a Worker gives up on its upstream after 30 s, and that error knows more too. */
const GENERATION_MARGIN_SECONDS = 40;

export function getTimeLimit(needsPolicy: boolean, { REQUEST_TIMEOUT }: Pick<Settings, 'REQUEST_TIMEOUT'>): number {
  return needsPolicy ? REQUEST_TIMEOUT + GENERATION_MARGIN_SECONDS : TIME_LIMIT_SECONDS;
}

export function limitTime(seconds: number): MiddlewareHandler {
  return async (context, next) => {
    const work = next();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<never>((_, reject) => {
      const isRead = ['GET', 'HEAD'].includes(context.req.method);
      timer = setTimeout(() => reject(isRead ? readTimeout(seconds) : outcomeUnknown()), seconds * 1000);
    });
    try {
      await Promise.race([work, timeout]);
    } finally {
      clearTimeout(timer);
    }
  };
}

function readTimeout(seconds: number): AttuneError {
  return new AttuneError(`there was no result within ${seconds} seconds; retry later`, {
    status: 504,
    code: 'deadline_exceeded',
  });
}
