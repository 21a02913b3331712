// Who may call which operation: one table, with a row for every operation of the OpenAPI document, tried with a key of each
// scope, without a key, with a wrong one, and by the sessions of a key and of a rater.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { SCOPES, type Scope } from '../../shared/scopes.ts';
import type { Api } from './api.ts';
import { openRaterSession, openSession } from './open-session.ts';

/** In the order of SCOPES. */
function describeNeed(scopes: readonly Scope[]): string {
  return `Needs a key with the scope ${SCOPES.filter((scope) => [...scopes, 'admin'].includes(scope)).join(' or ')}.`;
}

/** Any of these scopes; null: no key is needed. `admin` may call all. */
const ACCESS: Record<string, readonly Scope[] | null> = {
  'POST /v1/chat/completions': ['generate'],
  'GET /v1/chat/completions': ['read'],
  'GET /v1/chat/completions/{id}': ['read'],
  'DELETE /v1/chat/completions/{id}': [],
  'POST /v1/completions': ['generate'],
  'POST /v1/score': ['generate'],
  'GET /v1/models': ['generate', 'read'],
  'GET /v1/models/{model}': ['generate', 'read'],
  'POST /v1/comparisons': ['generate', 'rate'],
  'GET /v1/comparisons': ['rate', 'read'],
  'GET /v1/comparisons/export': ['read'],
  'GET /v1/comparisons/datasheet': ['read'],
  'GET /v1/comparisons/{id}': ['rate', 'read'],
  'DELETE /v1/comparisons/{id}': [],
  'POST /v1/preferences/import': ['feedback'],
  'GET /v1/preferences/export': ['read'],
  'GET /v1/preferences/stats': ['read'],
  'POST /v1/preferences': ['rate', 'feedback'],
  'GET /v1/preferences': ['read'],
  'GET /v1/preferences/{id}': ['read'],
  'POST /v1/preferences/{id}': ['rate', 'feedback'],
  'DELETE /v1/preferences/{id}': ['rate', 'feedback'],
  'POST /v1/feedback': ['rate', 'feedback'],
  'GET /v1/feedback': ['read'],
  'GET /v1/feedback/{id}': ['read'],
  'DELETE /v1/feedback/{id}': ['rate', 'feedback'],
  'POST /v1/queues': ['operate'],
  'GET /v1/queues': ['rate', 'read', 'operate'],
  'GET /v1/queues/{id}': ['rate', 'read', 'operate'],
  'POST /v1/queues/{id}': ['operate'],
  'POST /v1/queues/{id}/items': ['operate'],
  'GET /v1/queues/{id}/items': ['read', 'operate'],
  'POST /v1/queues/{id}/draw': ['operate'],
  'POST /v1/queues/{id}/requeue': ['operate'],
  'GET /v1/queues/{id}/export': ['read'],
  'POST /v1/queues/{id}/next': ['rate', 'feedback'],
  'GET /v1/queues/{id}/progress': ['rate', 'feedback'],
  'POST /v1/queues/{id}/raters/{rater}/pause': ['operate'],
  'POST /v1/queues/{id}/raters/{rater}/resume': ['operate'],
  'GET /v1/reservations/{id}': ['rate', 'feedback'],
  'POST /v1/reservations/{id}/heartbeat': ['rate', 'feedback'],
  'POST /v1/reservations/{id}/vote': ['rate', 'feedback'],
  'DELETE /v1/reservations/{id}/vote': ['rate', 'feedback'],
  'POST /v1/embed-tokens': ['feedback'],
  'GET /v1/queues/{id}/quality': ['read', 'operate'],
  'GET /v1/leaderboard': ['read'],
  'POST /v1/rounds': ['train'],
  'GET /v1/rounds': ['read'],
  'GET /v1/rounds/{id}': ['read'],
  'POST /v1/rounds/{id}/cancel': ['train'],
  'GET /v1/rounds/{id}/metrics': ['read'],
  'GET /v1/rounds/{id}/events': ['read'],
  'POST /v1/policies/{id}/canary': ['operate'],
  'GET /v1/canaries': ['read'],
  'GET /v1/canaries/{id}': ['read'],
  'GET /v1/canaries/{id}/evidence': ['read'],
  'POST /v1/canaries/{id}/cancel': ['operate'],
  'GET /v1/policies': ['read'],
  'GET /v1/policies/{id}': ['read'],
  'GET /v1/policies/{id}/lineage': ['read'],
  'POST /v1/policies/{id}/promote': ['operate'],
  'POST /v1/policies/rollback': ['operate'],
  'GET /v1/rewards': ['read'],
  'GET /v1/rewards/{id}': ['read'],
  'POST /v1/keys': [],
  'GET /v1/keys': [],
  'GET /v1/keys/{id}': [],
  'POST /v1/keys/{id}/rotate': [],
  'DELETE /v1/keys/{id}': [],
  'POST /v1/erasures': [],
  'GET /v1/erasures': [],
  'GET /v1/erasures/{id}': [],
  'GET /v1/webhook-events': ['operate'],
  'GET /v1/webhook-events/{id}': ['operate'],
  'POST /v1/webhook-events/{id}/resend': ['operate'],
  'GET /v1/settings': ['operate'],
  'GET /v1/loop': ['read'],
  'GET /v1/loop/events': ['read'],
  'GET /v1/traffic': ['read'],
  'GET /v1/audit': [],
  'GET /v1/audit/export': [],
  'POST /v1/raters': ['operate'],
  'GET /v1/raters': ['operate', 'read'],
  'GET /v1/raters/{id}': ['operate', 'read'],
  'POST /v1/raters/{id}': ['operate'],
  'POST /v1/raters/{id}/invitations': ['operate'],
  'POST /v1/session': null,
  'GET /v1/session': SCOPES,
  'DELETE /v1/session': null,
  'GET /status': null,
  'GET /health': null,
  'GET /metrics': null,
};

export function testAccess(api: Api): void {
  const keys = new Map<Scope, string>();
  /** The scope of the session, and its cookie. */
  const sessions = new Map<string, [Scope, string]>();

  before(async () => {
    for (const scope of SCOPES) {
      const { body } = await api.request('/v1/keys', { json: { name: `only ${scope}`, scopes: [scope] } });
      keys.set(scope, body.key);
    }
    sessions.set('the session of a rater', ['rate', (await openRaterSession(api)).cookie]);
    sessions.set('the session of a key', ['read', (await openSession(api, { key: keys.get('read') })).cookie]);
  });

  test('every operation of the OpenAPI document is in the table, and names its scopes', async () => {
    const { body } = await api.request('/openapi.json');
    const documented = Object.entries(body.paths as Record<string, Record<string, { description?: string }>>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
    );
    assert.deepEqual(documented.map(([route]) => route).toSorted(), Object.keys(ACCESS).toSorted());
    for (const [route, { description }] of documented) {
      const scopes = ACCESS[route];
      assert.equal(
        description,
        scopes === SCOPES ? 'Needs any key or session.' : scopes ? describeNeed(scopes) : undefined,
      );
    }
  });

  for (const [route, scopes] of Object.entries(ACCESS)) {
    test(`${route} is for ${scopes ? [...new Set([...scopes, 'admin'])].join(', ') : 'everyone'}`, async () => {
      const [method, path] = route.split(' ') as [string, string];
      // An unknown id, and a body and an Idempotency-Key that are refused: a call that is let through changes nothing.
      const address = path.replaceAll(/\{\w+\}/g, 'none');
      const call = async (credentials: Record<string, string>) => {
        const headers: Record<string, string> = {
          'content-type': 'application/json',
          'idempotency-key': 'x'.repeat(300),
          ...credentials,
        };
        const body = method === 'POST' ? '{"unknown": 1}' : null;
        const response = await fetch(api.url + address, { method, headers, body });
        // One that is let through to a stream without an end has seen enough.
        const isEndless = response.ok && path === '/v1/loop/events';
        const text = isEndless ? '' : await response.text();
        if (isEndless) await response.body?.cancel();
        return { status: response.status, code: /"code":"(\w+)"/.exec(text)?.[1] };
      };
      const assertAccess = async (who: string, scope: Scope, credentials: Record<string, string>) => {
        const { status, code } = await call(credentials);
        const isAllowed = scopes === null || scope === 'admin' || scopes.includes(scope);
        if (isAllowed) assert.ok(status !== 401 && status !== 403 && status < 500, `${who}: ${status} ${code}`);
        else assert.deepEqual([status, code], [403, 'insufficient_scope'], who);
      };
      for (const scope of SCOPES) await assertAccess(scope, scope, { authorization: `Bearer ${keys.get(scope)}` });
      for (const [who, [scope, cookie]] of sessions) await assertAccess(who, scope, { cookie });
      for (const key of [null, 'wrong', `sk-at-aaaaaaaaaaaa-${'A'.repeat(43)}`]) {
        const { status, code } = await call(key === null ? {} : { authorization: `Bearer ${key}` });
        if (scopes === null) assert.ok(status !== 401 && status !== 403 && status < 500, `${status}`);
        else assert.deepEqual([status, code], [401, 'invalid_api_key'], `${key}`);
      }
    });
  }
}
