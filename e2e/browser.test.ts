// What a real browser may do: sign in with an invitation, show the documentation, and call the API from a page of
// CORS_ORIGINS; and what pages of other sites may not, without a key and with a session.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { Page } from 'playwright-core';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { type Json, startEdgeServer, withEdge } from '../testing/edge-server.ts';

const KEY = 'a-secret-key';
const options = { skip: NO_BROWSER };

if (NO_BROWSER) test('a browser', options);
else {
  const site = await openSite();
  // A page of another site, and one that may call the API.
  const [evil, app] = ['evil', 'app'].map((name) => `http://${name}.example:${site}`) as [string, string];
  const server = await startEdgeServer({ API_KEY: KEY, CORS_ORIGINS: app });
  const { url } = server.edge;
  const browser = await openBrowser();
  const openPage = async (options = {}) => {
    const page = await (await browser.newContext(options)).newPage();
    const problems: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.location().url.endsWith('/favicon.ico')) problems.push(message.text());
    });
    page.on('pageerror', (error) => problems.push(String(error)));
    return { page, problems };
  };
  const asAdmin = { authorization: `Bearer ${KEY}` };
  const invite = async () => {
    const { body: rater } = await server.request('/v1/raters', { json: { name: 'Ann' }, headers: asAdmin });
    const path = `/v1/raters/${rater.id}/invitations`;
    return { rater, link: (await server.request(path, { json: {}, headers: asAdmin })).body.url as string };
  };

  test('the link of an invitation signs in by one click, and the page works without a script', async () => {
    const { rater, link } = await invite();
    const { page, problems } = await openPage({ javaScriptEnabled: false });
    // A preview of the link does not use it up.
    await page.goto(link);
    await page.goto(link);
    await page.getByRole('button', { name: 'Sign in' }).first().click();
    await page.waitForURL(`${url}/rate`);
    await page.goto(`${url}/sign-in`);
    await page.getByText('You are signed in as Ann').waitFor();
    const [cookie] = await page.context().cookies();
    assert.deepEqual(
      [cookie!.name, cookie!.httpOnly, cookie!.sameSite, cookie!.secure],
      ['attune_session', true, 'Strict', false],
    );
    const { body } = await server.request('/v1/session', { headers: { cookie: `attune_session=${cookie!.value}` } });
    assert.equal(body.rater.id, rater.id);

    await page.goto(link);
    await page.getByRole('button', { name: 'Sign in' }).first().click();
    assert.match((await page.getByRole('alert').textContent()) ?? '', /this invitation was used/);
    assert.deepEqual(
      problems.filter((text) => !text.includes('401')),
      [],
    );
  });

  test('a key signs in on the same page, in both themes and on a phone', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, problems } = await openPage({ colorScheme, viewport: { width: 360, height: 640 } });
      await page.goto(`${url}/sign-in`);
      const hasOverflow = await page.evaluate('document.documentElement.scrollWidth > innerWidth');
      assert.equal(hasOverflow, false);
      await page.getByLabel('Key').fill(KEY);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByText('You are signed in as key_').waitFor();
      await page.goto(`${url}/docs`);
      const session = await fetchIn(page, `${url}/v1/session`);
      assert.equal(session.body.tenant, 'default');
      await page.goto(`${url}/sign-in`);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Key').waitFor();
      assert.deepEqual(await page.context().cookies(), []);
      assert.deepEqual(problems, []);
    }
  });

  test('the documentation renders under its policy, and a session may try operations', async () => {
    const { page, problems } = await openPage();
    await page.goto(`${url}/docs`);
    await page.getByText('/v1/chat/completions').first().waitFor();
    await page.getByText('Signs a browser out').click();
    await page.getByRole('button', { name: 'Try it out' }).click();
    await page.getByRole('button', { name: 'Execute' }).click();
    await page.getByText('"deleted": true').first().waitFor();
    assert.deepEqual(problems, []);
  });

  test('pages of a session change things, and those of other sites do not', async () => {
    const { page } = await openPage();
    await page.goto(`${url}/sign-in`);
    await page.getByLabel('Key').fill(KEY);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('You are signed in as key_').waitFor();
    await page.goto(`${url}/docs`);
    const json = { method: 'POST', body: '{"name": "By a page"}', headers: { 'content-type': 'application/json' } };
    assert.equal((await fetchIn(page, `${url}/v1/raters`, json)).status, 200);
    const count = async () => (await server.request('/v1/raters?limit=100', { headers: asAdmin })).body.data.length;
    const before = await count();
    for (const origin of [evil, app]) {
      await page.goto(origin);
      for (const init of [
        { ...json, credentials: 'include' },
        { ...json, credentials: 'include', headers: { 'content-type': 'text/plain' } },
        { ...json, credentials: 'include', mode: 'no-cors', headers: {} },
      ])
        await fetchIn(page, `${url}/v1/raters`, init);
      await page.evaluate(`(() => {
        const form = document.createElement('form');
        Object.assign(form, { method: 'post', action: ${JSON.stringify(`${url}/v1/raters`)}, enctype: 'text/plain' });
        form.innerHTML = '<input name=\\'{"name": "Eve", "skills": ["\\' value=\\'"]}\\'>';
        document.body.append(form);
        form.submit();
      })()`);
      await page.waitForURL(`${url}/v1/raters`);
    }
    assert.equal(await count(), before);
  });

  test('a page of CORS_ORIGINS calls the API with a key, reads its headers, and no other page does', async () => {
    const { page } = await openPage();
    const init = { headers: { authorization: `Bearer ${KEY}` } };
    await page.goto(app);
    const allowed = await fetchIn(page, `${url}/v1/models`, init);
    assert.deepEqual([allowed.status, allowed.requestId?.slice(0, 4)], [200, 'req_']);
    await page.goto(evil);
    assert.match((await fetchIn(page, `${url}/v1/models`, init)).error, /Failed to fetch/);
  });

  for (const [name, env, key] of [
    ['with', { API_KEY: KEY, CORS_ORIGINS: app }, asAdmin],
    ['without', {}, {}],
  ] as const)
    test(`${name} API_KEY, only the page that an embed token names shows its comparison and votes`, async () => {
      await withEdge(server, env, async (send, open) => {
        const shop = `http://shop.example:${site}`;
        const { id } = (await send('/v1/comparisons', { prompt: 'Once', max_tokens: 3 }, key)).body;
        const { token } = (await send('/v1/embed-tokens', { comparison: id, user: 'ann', origin: shop }, key)).body;
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
        const body = JSON.stringify({ comparison: id, choice: 'a' });
        const vote = (page: Page, fields: object = {}) =>
          fetchIn(page, `${open}/v1/preferences`, { method: 'POST', body, headers: { ...headers, ...fields } });
        const { page } = await openPage();
        await page.goto(evil);
        assert.match((await vote(page)).error, /Failed to fetch/);
        // It may ask, and without a token it gets nothing.
        assert.match((await vote(page, { authorization: 'Bearer any' })).error, /Failed to fetch/);
        await page.goto(shop);
        assert.match((await vote(page, { authorization: 'Bearer any' })).error, /Failed to fetch/);
        const shown = await fetchIn(page, `${open}/v1/comparisons/${id}`, { headers });
        assert.deepEqual([shown.status, shown.body.voted], [200, false]);
        const given = await vote(page);
        assert.deepEqual([given.status, given.body.rater, given.requestId?.slice(0, 4)], [200, 'user:ann', 'req_']);
        const url = `${open}/v1/preferences/${given.body.id}`;
        assert.equal((await fetchIn(page, url, { method: 'DELETE', headers })).status, 200);
        await page.goto(app);
        const listed = await fetchIn(page, `${open}/v1/comparisons/${id}`, { headers });
        assert.equal(listed.status, name === 'with' ? 200 : undefined);
      });
    });

  test('without API_KEY, no page of another site changes anything', async () => {
    await withEdge(server, {}, async (send, open) => {
      const count = async () =>
        ((await (await fetch(`${open}/v1/raters?limit=100`)).json()) as { data: unknown[] }).data.length;
      assert.equal((await send('/v1/raters', { name: 'By curl' })).status, 200);
      const before = await count();
      // A page that was loaded before its name was pointed here has no policy of this server.
      const { page } = await openPage({ bypassCSP: true });
      await page.goto(evil);
      const body = '{"name": "Eve"}';
      await fetchIn(page, `${open}/v1/raters`, { method: 'POST', body, mode: 'no-cors' });
      await fetchIn(page, `${open}/v1/raters`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      // DNS rebinding: the page's own name leads to the server.
      const rebound = open.replace('127.0.0.1', 'evil.example');
      for (const path of ['/docs', '/openapi.json', '/metrics'])
        assert.equal((await page.goto(rebound + path))!.status(), 403, path);
      const json = {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', authorization: 'Bearer any' },
      };
      const refused = await fetchIn(page, `${rebound}/v1/raters`, json);
      assert.deepEqual([refused.status, refused.body.error.code], [403, 'foreign_origin']);
      assert.equal(await count(), before);
    });
  });
}

/** A site with one empty page. Returns its port. */
async function openSite(): Promise<number> {
  const site = createServer((_, response) =>
    response.setHeader('content-type', 'text/html').end('<title>a site</title>'),
  );
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  after(() => site.close());
  return (site.address() as AddressInfo).port;
}

/** What the page's own fetch gets. */
function fetchIn(page: Page, url: string, init: Json = {}): Promise<Json> {
  return page.evaluate(
    `fetch(${JSON.stringify(url)}, ${JSON.stringify(init)}).then(
      async (response) => ({
        status: response.status,
        requestId: response.headers.get('x-request-id'),
        body: await response.json().catch(() => null),
      }),
      (error) => ({ error: String(error) }),
    )`,
  );
}
