// <attune-compare> in a real browser, in the page of a product on another origin, whose Content-Security-Policy allows its script
// and its requests and nothing else.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import axe from 'axe-core';
import { eq } from 'drizzle-orm';
import type { Page } from 'playwright-core';
import { Credentials } from '../edge/credentials.ts';
import { createEmbedToken } from '../edge/embed-token.ts';
import { generations, preferences, round_pairs, rounds } from '../shared/database/schema.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { storeComparison } from '../testing/stored-rows.ts';
import { waitUntil } from '../testing/wait-until.ts';

const KEY = 'embed-test-secret-key';

if (NO_BROWSER) test('the web component in a browser', { skip: NO_BROWSER }, () => {});
else {
  const product = await openProduct();
  const server = await startEdgeServer({ API_KEY: KEY });
  const { db } = server.connection;
  const url = server.edge.url;
  const browser = await openBrowser();
  const asAdmin = { authorization: `Bearer ${KEY}` };

  const compare = async (a: string, b: string, prompt = 'How do I swim?') => {
    const { id, sides } = await storeComparison(db, prompt);
    await db.update(generations).set({ text: a }).where(eq(generations.id, sides[0]!));
    await db.update(generations).set({ text: b }).where(eq(generations.id, sides[1]!));
    return id;
  };
  const createToken = async (json: object): Promise<string> => {
    const fields = { origin: product.url, ...json };
    const { status, body } = await server.request('/v1/embed-tokens', { json: fields, headers: asAdmin });
    assert.equal(status, 200, JSON.stringify(body));
    return body.token;
  };
  const createExpired = async (comparison: string): Promise<string> => {
    const ports = { db, credentials: new Credentials() } as Parameters<typeof createEmbedToken>[0];
    const embedding = { comparison, user: 'ann', origin: product.url };
    const maker = { by: 'key_none', identity: undefined, tenant: 'default' };
    return (await createEmbedToken(ports, embedding, maker, -1)).token;
  };
  const listVotes = (comparison: string) =>
    db.select().from(preferences).where(eq(preferences.comparison_id, comparison));

  type Shown = { comparison: string; token?: string; attributes?: string; lang?: string; dir?: string };
  /** `violations`: of the page's Content-Security-Policy; `problems`: errors of its scripts. */
  const show = async ({ comparison, token, attributes = '', lang = 'en', dir = 'ltr' }: Shown, options = {}) => {
    const context = await browser.newContext(options);
    after(() => context.close());
    const page = await context.newPage();
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('console', (message) => {
      if (/Content.Security|Trusted/i.test(message.text())) problems.push(message.text());
    });
    const signed = token ?? (await createToken({ comparison, user: 'ann' }));
    product.html = `<!doctype html><html lang="${lang}" dir="${dir}"><head><title>A product</title>
      <meta name="viewport" content="width=device-width">
      <meta name="color-scheme" content="light dark">
      <link rel="stylesheet" href="/style.css">
      <script src="/log.js"></script><script src="${url}/embed.js" async></script></head>
      <body><main><h1>Help us</h1>
      <attune-compare comparison="${comparison}" token="${signed}" base="${url}" prompt ${attributes}></attune-compare>
      </main></body></html>`;
    await page.goto(product.url);
    const events = (): Promise<Json[]> => page.evaluate('window.log');
    return { page, problems, events };
  };
  const vote = (page: Page, name: string) => page.getByRole('button', { name }).click();

  test('the script is small, and is for pages of any origin', async () => {
    const response = await fetch(`${url}/embed.js`, { headers: { origin: product.url } });
    const { headers } = response;
    assert.equal(headers.get('access-control-allow-origin'), '*');
    assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin');
    assert.match(headers.get('content-type') ?? '', /^text\/javascript/);
    assert.match(headers.get('cache-control') ?? '', /no-cache/);
    const size = gzipSync(await response.text()).length;
    assert.ok(size < 25_000, `${size} bytes`);
    const again = await fetch(`${url}/embed.js`, { headers: { 'if-none-match': headers.get('etag')! } });
    assert.equal(again.status, 304);
  });

  test('it shows both answers, and a vote is stored, changed and taken back', async () => {
    const comparison = await compare('First **bold** answer', 'Second answer');
    const { page, problems, events } = await show({ comparison });
    await page.getByRole('article', { name: 'Answer A' }).getByText('bold').waitFor();
    await page.getByText('How do I swim?').waitFor();
    await vote(page, 'B is better');
    await page.getByText('Your vote is saved').waitFor();
    const [stored] = await listVotes(comparison);
    assert.deepEqual([stored!.choice, stored!.rater], ['b', 'user:ann']);
    assert.ok(stored!.seconds! > 0 && stored!.seconds! < 30, `${stored!.seconds}`);
    assert.equal(await page.getByRole('button', { name: 'B is better' }).getAttribute('aria-pressed'), 'true');

    await vote(page, 'Equally good');
    await waitUntil(async () => (await listVotes(comparison))[0]?.choice === 'tie');
    await page.getByText('Your vote is saved').waitFor();
    await vote(page, 'Undo');
    await page.getByText('taken back').waitFor();
    assert.deepEqual(await listVotes(comparison), []);
    const heard = (await events()).map(({ name, detail }) => [name, detail.comparison, detail.choice]);
    assert.deepEqual(heard, [
      ['attune-ready', comparison, undefined],
      ['attune-vote', comparison, 'b'],
      ['attune-vote', comparison, 'tie'],
      ['attune-undo', comparison, undefined],
    ]);
    assert.deepEqual(problems, []);
  });

  test('a browser that has the script asks whether it is new, and runs it again', async () => {
    const comparison = await compare('First', 'Second');
    const { page, problems } = await show({ comparison });
    for (let load = 0; load < 2; load++) {
      await page.getByText('First').waitFor();
      const reloaded = page.waitForResponse(`${url}/embed.js`);
      await page.reload();
      assert.equal((await reloaded).ok() || (await reloaded).status() === 304, true);
    }
    await page.getByText('First').waitFor();
    assert.deepEqual(problems, []);
  });

  test('it is used by keyboard alone, and leaves the keys of the page alone', async () => {
    const comparison = await compare('First', 'Second');
    const { page } = await show({ comparison });
    await page.getByText('First').waitFor();
    await page.keyboard.press('a');
    await page.keyboard.press('Tab');
    assert.deepEqual(await listVotes(comparison), []);
    await page.keyboard.press('x');
    await page.getByText('Your vote is saved').waitFor();
    assert.equal((await listVotes(comparison))[0]!.choice, 'both_bad');
    await page.getByRole('button', { name: 'Undo' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('taken back').waitFor();
    // The focus stays inside.
    await page.keyboard.press('b');
    await waitUntil(async () => (await listVotes(comparison))[0]?.choice === 'b');
  });

  test('a vote that was not answered is sent again, and stored once', async () => {
    const comparison = await compare('First', 'Second');
    const { page, events } = await show({ comparison });
    await page.getByText('First').waitFor();
    // The first is stored, and its answer lost.
    let sent = 0;
    await page.route('**/v1/preferences', async (route) => {
      if (route.request().method() !== 'POST' || sent++ > 0) return route.continue();
      await route.fetch();
      return route.abort();
    });
    await vote(page, 'A is better');
    await page.getByRole('alert').getByText('cannot be reached').waitFor();
    await vote(page, 'Try again');
    await page.getByText('Your vote is saved').waitFor();
    assert.equal((await listVotes(comparison)).length, 1);
    assert.deepEqual(
      (await events()).map(({ name }) => name),
      ['attune-ready', 'attune-error', 'attune-vote'],
    );
  });

  test('a vote that a round has used says so, and cannot be taken back', async () => {
    const comparison = await compare('First', 'Second');
    const { page } = await show({ comparison });
    await vote(page, 'A is better');
    await page.getByText('Your vote is saved').waitFor();
    const [stored] = await listVotes(comparison);
    await useInRound(stored!.id);
    await vote(page, 'Undo');
    await page.getByRole('alert').getByText('has been used').waitFor();
    assert.equal((await listVotes(comparison)).length, 1);
  });

  test('an expired token, a wrong comparison and a second vote say what is wrong', async () => {
    const comparison = await compare('First', 'Second');
    const expired = await show({ comparison, token: await createExpired(comparison) });
    await expired.page.getByRole('alert').getByText('has expired').waitFor();
    const [error] = await expired.events();
    assert.deepEqual(
      [error.name, error.detail.status, error.detail.code],
      ['attune-error', 401, 'invalid_embed_token'],
    );
    assert.equal(await expired.page.getByRole('button').count(), 0);
    // Another token goes on.
    const token = await createToken({ comparison, user: 'ann' });
    await expired.page.evaluate(`document.querySelector('attune-compare').setAttribute('token', '${token}')`);
    await vote(expired.page, 'A is better');
    await expired.page.getByText('Your vote is saved').waitFor();

    const second = await show({ comparison });
    await vote(second.page, 'B is better');
    await second.page.getByText('voted on these answers already').waitFor();

    const other = await compare('Third', 'Fourth');
    const wrong = await show({ comparison: other, token: await createToken({ comparison, user: 'ann' }) });
    await wrong.page.getByRole('alert').waitFor();
    assert.doesNotMatch((await wrong.page.locator('attune-compare').textContent()) ?? '', /Third/);
    const none = await show({ comparison: 'cmp_none', token: await createToken({ user: 'ann' }) });
    await none.page.getByRole('alert').getByText('does not exist').waitFor();
  });

  test('nothing in a prompt or an answer runs, loads or leaves its place', async () => {
    const attack = [
      '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>',
      '[a link](javascript:window.hacked=1) [b](data:text/html,x) ![an image](https://evil.example/x.png)',
      '<svg onload="window.hacked = 1"></svg></section></template><style>* { display: none }</style>',
      '```html"onmouseover="window.hacked=1\n<b>code</b>\n```',
      '| a | b |\n| --- | --- |\n| <iframe src="javascript:window.hacked=1"></iframe> | b |',
      '[good](https://good.example/) <a href="javascript:window.hacked=1">raw</a>',
    ].join('\n\n');
    const comparison = await compare(attack, attack, attack);
    const { page, problems } = await show({
      comparison,
      attributes: `text-tie="<img src=x onerror='window.hacked=1'>"`,
    });
    const requests: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    const side = page.getByRole('article', { name: 'Answer A' });
    await side.getByText('<b>code</b>').waitFor();
    assert.equal(await page.evaluate('window.hacked'), undefined);
    assert.equal(await side.locator('img, script, svg, style, iframe, [onerror], [onload], [onmouseover]').count(), 0);
    const links = await side.locator('a').evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).href));
    assert.deepEqual(links, ['https://good.example/']);
    assert.deepEqual(
      requests.filter((one) => one.includes('evil')),
      [],
    );
    assert.deepEqual(problems, []);
  });

  test('a page of 200 kB and right-to-left text are shown, in every width, without axe finding fault', async () => {
    const long = `${'A long line of words. '.repeat(9000)}\n\n\`\`\`\n${'x'.repeat(3000)}\n\`\`\``;
    const arabic = 'يجب أن تتعلم السباحة **أولاً** في الماء الضحل.\n\n1. ادخل الماء\n2. تنفس';
    for (const [name, a, b, options, attributes, lang, dir] of [
      [
        'light',
        '# Title\n\nSwim `often`.\n\n- one\n- two\n\n```py\nprint(1)\n```',
        'Just **jump**. | a',
        {},
        '',
        'en',
        'ltr',
      ],
      ['dark', 'Erst *üben*.', 'Dann schwimmen.', { colorScheme: 'dark' as const }, '', 'de', 'ltr'],
      [
        'phone',
        'Swim often.',
        `Just jump ${'very'.repeat(100)} far.`,
        { viewport: { width: 320, height: 640 } },
        '',
        'en',
        'ltr',
      ],
      ['rtl', arabic, arabic, {}, '', 'ar', 'rtl'],
      ['long', long, 'short', {}, '', 'en', 'ltr'],
      ['plain', '# no **Markdown**', 'short', {}, 'format="text" theme="dark"', 'en', 'ltr'],
    ] as const) {
      const comparison = await compare(a, b);
      const { page, problems } = await show({ comparison, attributes, lang, dir }, options);
      await page.getByRole('article').nth(1).locator('.text p').first().waitFor();
      assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false, name);
      if (name === 'dark') await page.getByText('Beide sind schlecht').waitFor();
      if (name === 'plain') await page.getByText('# no **Markdown**').waitFor();
      await page.getByRole('button').first().click();
      await page.getByRole('button', { name: /Undo|Rückgängig/ }).waitFor();
      assert.deepEqual(await findFaults(page), [], name);
      assert.deepEqual(problems, [], name);
      const folder = process.env.SCREENSHOTS;
      if (folder) await page.screenshot({ path: `${folder}/embed-${name}.png` });
    }
  });

  test('a page gives it its own colours, parts and words', async () => {
    const comparison = await compare('First', 'Second');
    const { page } = await show(
      { comparison, attributes: 'text-tie="Cannot say" style="--attune-accent: rgb(1, 2, 3)"' },
      { reducedMotion: 'reduce' },
    );
    await vote(page, 'Cannot say');
    await page.getByText('Your vote is saved').waitFor();
    const style = (part: string, name: string): Promise<string> =>
      page.evaluate(
        `getComputedStyle(document.querySelector('attune-compare').shadowRoot.querySelector('[part~="${part}"]')).${name}`,
      );
    assert.equal(await style('vote-tie', 'backgroundColor'), 'rgb(1, 2, 3)');
    assert.equal(await style('vote-a', 'textTransform'), 'uppercase');
  });

  test('the example page of the documentation works as it is', async () => {
    const comparison = await compare('First', 'Second');
    const example = await readFile(new URL('../docs/embed.html', import.meta.url), 'utf8');
    assert.doesNotMatch(example, /Bearer (?!\$ATTUNE_KEY)|et_(?!…)/);
    product.html = example.replaceAll('https://attune.example.com', url);
    product.policy = null;
    // The first token has expired meanwhile.
    const tokens = [await createExpired(comparison), await createToken({ comparison, user: 'ann' })];
    product.comparison = () => ({ comparison, token: tokens.shift() });
    const page = await browser.newPage();
    await page.goto(product.url);
    await vote(page, 'I cannot say');
    await page.getByText('You chose tie.').waitFor();
    await vote(page, 'Undo');
    await page.getByText('taken back').waitFor();
    assert.equal(await page.getByText('You chose').count(), 0);
    await page.close();
  });

  async function useInRound(preference: string): Promise<void> {
    await db.insert(rounds).values({ id: 'round_1', trigger: 'api', settings: {} });
    const pair = { preference_id: preference, split: 'train' as const, replay: false };
    await db.insert(round_pairs).values({ round_id: 'round_1', ...pair });
  }

  /** What axe-core finds wrong, in the component and around it. */
  async function findFaults(page: Page): Promise<string[]> {
    await page.evaluate(axe.source);
    const { violations } = (await page.evaluate('axe.run()')) as Json;
    return violations.map(({ id, nodes }: Json) => `${id}: ${nodes.map((node: Json) => node.html).join(' ')}`);
  }
}

type Product = {
  url: string;
  html: string;
  /** the page's Content-Security-Policy, of an edge */
  policy: ((edge: string) => string) | null;
  comparison: () => object;
};

/** The site of a product, on an origin of its own, whose pages may do as little as one with the component can. */
async function openProduct(): Promise<Product> {
  const product: Product = {
    url: '',
    html: '',
    policy: (edge) =>
      `default-src 'none'; script-src 'self' ${edge}; connect-src ${edge}; style-src 'self'; ` +
      "style-src-attr 'unsafe-inline'; require-trusted-types-for 'script'",
    comparison: () => ({}),
  };
  const site = createServer((request, response) => {
    if (request.url === '/log.js') return response.setHeader('content-type', 'text/javascript').end(LOG_SCRIPT);
    if (request.url === '/style.css') return response.setHeader('content-type', 'text/css').end(STYLE);
    if (request.url === '/comparison') return response.end(JSON.stringify(product.comparison()));
    const edge = /base="([^"]+)"/.exec(product.html)?.[1] ?? '';
    if (product.policy) response.setHeader('content-security-policy', product.policy(edge));
    return response.setHeader('content-type', 'text/html; charset=utf-8').end(product.html);
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  after(() => site.close());
  product.url = `http://shop.example:${(site.address() as AddressInfo).port}`;
  return product;
}

const STYLE = 'attune-compare::part(vote-a) { text-transform: uppercase; }';
const LOG_SCRIPT = `window.log = [];
  for (const name of ['attune-ready', 'attune-vote', 'attune-undo', 'attune-error'])
    document.addEventListener(name, ({ detail }) => window.log.push({ name, detail }));`;
