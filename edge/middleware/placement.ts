// The operations that need a policy: asked of whoever can compute it, here or elsewhere, and told to the client in two
// headers. What is elsewhere answers in this API's own shape, so its answer is handed on as it comes.

import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Placement, Ports } from '../ports.ts';

const OPERATIONS = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/comparisons',
  '/v1/policies/rollback',
  '/v1/policies/:id/promote',
];

/** Before the routes themselves, after the checks of key and body. */
export function placeOperations(app: OpenAPIHono, { placeRequest: place }: Ports): void {
  app.on('POST', OPERATIONS, async (context, next) => {
    const { response: answer, ...compute } = await place(context);
    if (answer) return tell(answer, compute);
    await next();
    context.res = tell(context.res, compute);
  });
}

function tell(response: Response, { place, reason }: Placement): Response {
  const told = new Response(response.body, response);
  told.headers.set('x-attune-compute', place);
  // A header holds no more than this.
  told.headers.set('x-attune-compute-reason', reason.replaceAll(/[^\x20-\x7e]+/g, '?'));
  return told;
}
