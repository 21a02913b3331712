// Observes every request: a metric when its response begins, a log line and a span when it has ended.

import type { Context, MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import { recordFailure } from '../http/errors.ts';
import { openRecord, type RequestRecord } from '../http/request-record.ts';
import { watchBody } from '../http/watch-body.ts';
import type { Ports } from '../ports.ts';

export function observeRequests({
  metrics,
  observeRequest,
}: Pick<Ports, 'metrics' | 'observeRequest'>): MiddlewareHandler {
  return async (context, next) => {
    const startedMs = performance.now();
    const record = openRecord(context);
    context.set('record', record);
    await next();
    record.responseMs = performance.now() - startedMs;
    describeResponse(record, context);
    metrics.observeResponse({ ...record, seconds: record.responseMs / 1000 });
    // The body of a HEAD response is never read, so its stream would never end.
    if (record.method === 'HEAD' || !isStream(context.res)) return observeRequest({ ...record, ms: record.responseMs });
    context.res = watchBody(context.res, (error) => {
      if (error !== undefined) recordFailure(record, error);
      observeRequest({ ...record, ms: performance.now() - startedMs });
    });
  };
}

function describeResponse(record: RequestRecord, context: Context): void {
  // A fixed path also matches a parameter's pattern, which is registered after it.
  const matched = matchedRoutes(context).find(({ path }) => !path.includes('*'));
  if (matched) Object.assign(record, { route: matched.path, path: context.req.path });
  record.status = context.res.status;
  record.key = context.get('identity')?.id;
}

/** Every other body is complete when the handler returns. */
function isStream({ headers }: Response): boolean {
  return /^(text\/event-stream|application\/jsonl)/.test(headers.get('content-type') ?? '');
}
