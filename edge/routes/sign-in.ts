// The sign-in page. Its form does what POST /v1/session does, for browsers without a script.

import { z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { toAttuneError } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { parseRequest } from '../http/request-body.ts';
import { renderSignIn, SIGN_IN_HEADERS } from '../http/sign-in-page.ts';
import { credentialsBody, signIn } from './session.ts';

/** Where a browser goes that has signed in. */
const HOME = '/';

export const showSignIn = defineOperation({
  scopes: null,
  summary: 'The sign-in page',
  response: z.string(),
  hide: true,
  handler: async ({ context }) =>
    context.html(renderSignIn({ invitation: context.req.query('invitation') }), 200, SIGN_IN_HEADERS),
});

export const submitSignIn = defineOperation({
  scopes: null,
  summary: 'The form of the sign-in page',
  response: z.string(),
  hide: true,
  async handler({ ports, context }) {
    const fields = Object.fromEntries(new URLSearchParams(await context.req.text()));
    await signIn(ports, context, parseRequest(credentialsBody, fields));
    return context.redirect(HOME, 303);
  },
});

/** Shows a failure as the page, with the status and message that the API has for it. */
export const showSignInFailure: MiddlewareHandler = async (context, next) => {
  await next();
  if (!context.error) return;
  const { headers, status } = context.res;
  const { message } = toAttuneError(context.error);
  const page = await context.html(renderSignIn({ problem: message }), status as 400, SIGN_IN_HEADERS);
  for (const name of ['retry-after', 'connection', 'set-cookie']) {
    const value = headers.get(name);
    if (value !== null) page.headers.set(name, value);
  }
  context.res = page;
};
