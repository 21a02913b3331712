// The sign-in page. Its forms do what POST and DELETE /v1/session do, for browsers without a script.

import { z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { SIGN_IN_PATH } from '../../shared/access/invitations.ts';
import { toAttuneError } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { RATE_PATH } from '../http/pages.ts';
import { parseRequest } from '../http/request-body.ts';
import { findLanguage, renderSignedIn, renderSignIn, SIGN_IN_HEADERS, SIGN_OUT_FIELD } from '../http/sign-in-page.ts';
import { findSession } from '../session.ts';
import { credentialsBody, signIn, signOut } from './session.ts';

export const showSignIn = defineOperation({
  scopes: null,
  summary: 'The sign-in page',
  response: z.string(),
  hide: true,
  async handler({ ports, context }) {
    const invitation = context.req.query('invitation');
    const language = findLanguage(context.req.header('accept-language'));
    const session = invitation === undefined ? await findSession(ports, context) : null;
    if (session === null || typeof session === 'string')
      return context.html(renderSignIn({ invitation, language }), 200, SIGN_IN_HEADERS);
    const { name, id } = session.identity;
    return context.html(renderSignedIn(name ?? id, language), 200, SIGN_IN_HEADERS);
  },
});

export const submitSignIn = defineOperation({
  scopes: null,
  summary: 'The form of the sign-in page',
  response: z.string(),
  hide: true,
  async handler({ ports, context }) {
    const fields = Object.fromEntries(new URLSearchParams(await context.req.text()));
    if (SIGN_OUT_FIELD in fields) {
      await signOut(ports, context);
      return context.redirect(SIGN_IN_PATH, 303);
    }
    const { identity } = await signIn(ports, context, parseRequest(credentialsBody, fields));
    // A rater came to rate; whoever has a key sees whose it is, and where to go.
    return context.redirect(identity.kind === 'rater' ? RATE_PATH : SIGN_IN_PATH, 303);
  },
});

/** Shows a failure as the page, with the status and message that the API has for it. */
export const showSignInFailure: MiddlewareHandler = async (context, next) => {
  await next();
  if (!context.error) return;
  const { headers, status } = context.res;
  const { message } = toAttuneError(context.error);
  const language = findLanguage(context.req.header('accept-language'));
  const page = await context.html(renderSignIn({ problem: message, language }), status as 400, SIGN_IN_HEADERS);
  for (const name of ['retry-after', 'connection', 'set-cookie']) {
    const value = headers.get(name);
    if (value !== null) page.headers.set(name, value);
  }
  context.res = page;
};
