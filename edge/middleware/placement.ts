// Selects where a request that needs a policy is computed, here or by another Attune, and reports it in two headers. The
// response of another Attune already has this API's shape and is passed on unchanged.

import type { MiddlewareHandler } from 'hono';
import type { Placement, Ports, RequiredPolicy } from '../ports.ts';

/** Runs after the checks of API key, rate and body. */
export function placeRequest(ports: Pick<Ports, 'placeRequest'>, needsPolicy: RequiredPolicy): MiddlewareHandler {
  return async (context, next) => {
    const { response, ...placement } = await ports.placeRequest(context, needsPolicy);
    if (response) return withPlacementHeaders(response, placement);
    await next();
    context.res = withPlacementHeaders(context.res, placement);
  };
}

function withPlacementHeaders(response: Response, { place, reason }: Placement): Response {
  // A copy: the headers of a fetched response are immutable.
  const copy = new Response(response.body, response);
  copy.headers.set('x-attune-compute', place);
  // A header value is limited to printable ASCII.
  copy.headers.set('x-attune-compute-reason', reason.replaceAll(/[^\x20-\x7e]+/g, '?'));
  return copy;
}
