// Signs in as a browser does, and keeps the cookie.

import assert from 'node:assert/strict';
import type { Json } from '../../testing/edge-server.ts';
import type { Api, ApiResponse } from './api.ts';

export type OpenSession = { cookie: string; response: ApiResponse };

/** Sends no key: the credentials are in the body. */
export async function openSession(api: Api, credentials: Json): Promise<OpenSession> {
  const response = await api.request('/v1/session', { json: credentials, headers: { authorization: '' } });
  return { cookie: response.headers.get('set-cookie')?.split(';')[0] ?? '', response };
}

/** A new rater, signed in with an invitation. */
export async function openRaterSession(api: Api, fields: Json = {}): Promise<OpenSession & { rater: Json }> {
  const { body: rater } = await api.request('/v1/raters', { json: { name: 'Ann', ...fields } });
  const { body: invitation } = await api.request(`/v1/raters/${rater.id}/invitations`, { json: {} });
  const session = await openSession(api, { invitation: invitation.token });
  assert.equal(session.response.status, 200);
  return { ...session, rater };
}
