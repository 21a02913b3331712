// What the pages of a browser may do with a session: those of other sites nothing, and the sign-in page what the API does.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { openSession } from './open-session.ts';

export function testPages(api: Api): void {
  const { request } = api;

  test('a page of another origin can do nothing with the cookie', async () => {
    const { cookie } = await openSession(api, { key: KEYS[0] });
    const own = { origin: api.url };
    const cancel = (headers: Record<string, string>) =>
      fetch(`${api.url}/v1/rounds/round_none/cancel`, { method: 'POST', headers: { cookie, ...headers } });
    const statuses: [Record<string, string>, number][] = [
      [own, 404],
      [{ 'sec-fetch-site': 'same-origin' }, 404],
      [{}, 403],
      [{ origin: 'https://evil.example' }, 403],
      [{ origin: 'null' }, 403],
      [{ origin: 'https://evil.example', 'content-type': 'application/json' }, 403],
      [{ 'sec-fetch-site': 'cross-site' }, 403],
      [{ 'sec-fetch-site': 'same-site', origin: 'https://other.example' }, 403],
      [{ ...own, 'content-type': 'text/plain' }, 415],
    ];
    for (const [headers, status] of statuses) {
      const response = await cancel(headers);
      assert.equal(response.status, status, JSON.stringify(headers));
      if (status === 403) assert.equal(((await response.json()) as Json).error.code, 'foreign_origin');
    }
    const form = new URLSearchParams({ name: 'Eve' });
    const post = { method: 'POST', body: form, headers: { cookie, ...own } };
    assert.equal((await fetch(`${api.url}/v1/raters`, post)).status, 415);
    // Nor can it sign a browser in, or out.
    const foreign = { origin: 'https://evil.example', 'content-type': 'application/json' };
    const body = JSON.stringify({ key: KEYS[0] });
    assert.equal((await fetch(`${api.url}/v1/session`, { method: 'POST', body, headers: foreign })).status, 403);
    const signOut = { method: 'DELETE', headers: { ...foreign, cookie } };
    assert.equal((await fetch(`${api.url}/v1/session`, signOut)).status, 403);
  });

  test('/embed.js is for pages of any origin, and asked for again each time', async () => {
    const { status, headers, text } = await request('/embed.js', { headers: { origin: 'https://shop.example' } });
    assert.deepEqual([status, headers.get('content-type')], [200, 'text/javascript; charset=UTF-8']);
    assert.deepEqual(
      ['access-control-allow-origin', 'cross-origin-resource-policy', 'cache-control'].map((name) => headers.get(name)),
      ['*', 'cross-origin', 'public, no-cache'],
    );
    assert.match(text, /attune-compare/);
    const again = await request('/embed.js', { headers: { 'if-none-match': headers.get('etag') ?? '' } });
    // A browser judges by the newer headers whether a page of another origin may have it.
    assert.deepEqual(
      [
        again.status,
        again.headers.get('access-control-allow-origin'),
        again.headers.get('cross-origin-resource-policy'),
      ],
      [304, '*', 'cross-origin'],
    );
  });

  test('the rating page names files that a browser may keep for ever, and loads nothing from elsewhere', async () => {
    const page = await request('/rate');
    assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=UTF-8']);
    assert.equal(page.headers.get('cache-control'), 'no-cache');
    assert.match(
      page.headers.get('content-security-policy') ?? '',
      /script-src 'self'; style-src 'self'; img-src 'self'/,
    );
    assert.equal((await request('/rate/arena')).text, page.text);
    const etag = page.headers.get('etag') ?? '';
    const again = await request('/rate', { headers: { 'if-none-match': etag } });
    assert.equal(again.status, 304);
    const policy = 'content-security-policy';
    assert.equal(again.headers.get(policy), page.headers.get(policy));
    const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file!);
    const types = new Set<string | null>();
    for (const file of files) {
      assert.match(file, /^\/assets\/[\w-]+\.\w+$/);
      const { status, headers } = await request(file);
      assert.deepEqual([status, headers.get('cache-control')], [200, 'public, max-age=31536000, immutable'], file);
      types.add(headers.get('content-type'));
    }
    assert.deepEqual([...types].sort(), ['image/svg+xml', 'text/css', 'text/javascript']);
    for (const file of ['nothing.js', '..%2Frate%2Findex.html', '__proto__.js', 'rate'])
      assert.equal((await request(`/assets/${file}`)).status, 404, file);
  });

  test('the sign-in page does by a form what the API does, and says what is wrong', async () => {
    const page = await request('/sign-in?invitation=inv-at-anything');
    assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=UTF-8']);
    assert.equal(page.headers.get('cache-control'), 'no-store');
    assert.doesNotMatch(page.text, /<script/);
    const submit = (fields: Record<string, string>, headers = {}) =>
      fetch(`${api.url}/sign-in`, {
        method: 'POST',
        body: new URLSearchParams(fields),
        redirect: 'manual',
        headers: { origin: api.url, ...headers },
      });
    const { body: rater } = await request('/v1/raters', { json: { name: 'Ann' } });
    const { body: invitation } = await request(`/v1/raters/${rater.id}/invitations`, { json: {} });
    const signedIn = await submit({ invitation: invitation.token });
    assert.deepEqual([signedIn.status, signedIn.headers.get('location')], [303, '/rate']);
    const cookie = signedIn.headers.get('set-cookie')!.split(';')[0]!;
    assert.equal((await request('/v1/session', { headers: { authorization: '', cookie } })).body.rater.id, rater.id);

    const shown = await request('/sign-in', { headers: { authorization: '', cookie } });
    assert.match(shown.text, /You are signed in as <strong>Ann<\/strong>/);
    const signedOut = await submit({ sign_out: '1' }, { cookie });
    assert.match(signedOut.headers.get('set-cookie') ?? '', /^attune_session=; Max-Age=0/);
    // Without a session there is nothing to guard.
    const nothing = await fetch(`${api.url}/v1/session`, { method: 'DELETE' });
    assert.equal(nothing.status, 200);

    const failures: [Response, number, RegExp][] = [
      [await submit({ invitation: invitation.token }), 401, /this invitation was used, and each signs in once; ask/],
      [await submit({ key: 'wrong' }), 401, /key: invalid API key; give a key from API_KEY/],
      [await submit({}), 400, /give either key or invitation/],
      [await submit({ key: KEYS[0] }, { origin: 'https://evil.example' }), 403, /Origin is &quot;https:\/\/evil/],
    ];
    for (const [response, status, message] of failures) {
      const text = await response.text();
      assert.equal(response.status, status, text);
      assert.match(response.headers.get('content-type') ?? '', /^text\/html/);
      assert.match(text, message);
      assert.match(text, /<form/);
      assert.equal(response.headers.get('set-cookie'), null);
    }
  });
}
