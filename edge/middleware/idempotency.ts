// Answers a repeated request with the stored response, before it is placed: nothing is loaded, forwarded or computed.

import type { MiddlewareHandler } from 'hono';
import { findStoredResponse, identifyRequest } from '../http/idempotency.ts';
import { type Route, replayResponse } from '../http/operation.ts';
import type { Ports } from '../ports.ts';

/** Runs after the checks of API key, rate and body. */
export function replayRequest(ports: Ports, { operation, path }: Route): MiddlewareHandler {
  return async (context, next) => {
    const request = await identifyRequest(context, path);
    const earlier = request && (await findStoredResponse(ports, request));
    if (earlier) return replayResponse(context, operation, earlier.response);
    context.set('idempotentRequest', request);
    return next();
  };
}
