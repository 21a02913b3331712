// Counts and times every response, by the pattern of its route.

import type { MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import type { Metrics } from '../ports.ts';

export function observeResponses(metrics: Metrics): MiddlewareHandler {
  return async (context, next) => {
    const startedMs = performance.now();
    await next();
    const pattern = routePath(context, -1);
    metrics.observeResponse({
      method: context.req.method,
      route: pattern.includes('*') ? 'none' : pattern,
      status: context.res.status,
      seconds: (performance.now() - startedMs) / 1000,
    });
  };
}
