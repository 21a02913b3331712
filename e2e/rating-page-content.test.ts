// What the rating page shows, in a real browser: hostile, long and right-to-left texts, both themes and a phone, as axe-core sees
// them, two languages, and the arena.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { assertAccessible } from '../testing/accessible.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { makeItems, openRatingServer } from '../testing/rating-page.ts';

const KEY = 'a-secret-key';
const MAX_PAGE_BYTES = 150_000;
const DIST = path.join(import.meta.dirname, '../pages/dist');

/** Each would set `hacked`, or ask another site, if it ran. */
const ATTACKS = [
  '<img src=x onerror="hacked=1">',
  '<script>hacked=1</script>',
  '<svg onload="hacked=1"><a href="javascript:hacked=1">x</a></svg>',
  '<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
  '<style>body{background:url(https://evil.example/x)}</style>',
  '<form action="https://evil.example"><button>x</button></form>',
  '![x](https://evil.example/pixel.png)',
  '[link](javascript:hacked=1) [data](data:text/html,<script>hacked=1</script>)',
  '[ok](https://example.com "<img src=x onerror=hacked=1>")',
  '`</code><img src=x onerror=hacked=1>`',
  '```"><img src=x onerror=hacked=1>\ncode\n```',
  '$\\href{javascript:hacked=1}{x}$ $\\htmlData{a=b}{x}$ $\\includegraphics{https://evil.example/x}$',
  '$</span><img src=x onerror=hacked=1>$ $$\\text{<img src=x onerror=hacked=1>}$$',
  '<math><mtext></p><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=hacked=1&gt;">',
  '&lt;img src=x onerror=hacked=1&gt;',
].join('\n\n');

if (NO_BROWSER) test('the rating page', { skip: NO_BROWSER });
else {
  const server = await startEdgeServer({ API_KEY: KEY });
  const long = await server.importTiny(3, { contextLength: 4096 });
  const rating = openRatingServer(server.edge.url, KEY, await openBrowser());
  const { send, createQueue, openRater, openPage } = rating;

  test('nothing runs in prompts, responses, guidelines, names, tags and explanations, and nothing is asked for', async () => {
    const sides = { a: `A ${ATTACKS}`, b: `B ${ATTACKS}` };
    const known = { kind: 'calibration', expected: 'a', explanation: ATTACKS };
    const queue = await createQueue(
      [
        { prompt: `P ${ATTACKS}`, ...sides, ...known },
        { prompt: `Q ${ATTACKS}`, ...sides },
      ],
      {
        name: '<img src=x onerror=hacked=1>',
        guidelines: ATTACKS,
        tags: ['<img src=x onerror=hacked=1>'],
        calibration: { items: 1, accuracy: 0 },
      },
    );
    const { page, problems } = await openRater('<img src=x onerror=hacked=1>', queue);
    await page.getByRole('dialog').getByText('code', { exact: true }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByText('Practice.').waitFor();
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Next' }).waitFor();
    await page.waitForTimeout(500);
    assert.equal(await page.locator('.markdown :is(img, script, style, iframe, form, svg, [onerror])').count(), 0);
    const links = await page.locator('.markdown a').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
    for (const link of links) assert.match(link ?? 'https://', /^https:\/\//);
    await page.keyboard.press('Enter');
    await page.getByText('Improve …').waitFor();
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByText('Signed in as <img').waitFor();
    assert.equal(await page.evaluate('typeof hacked'), 'undefined');
    assert.deepEqual(problems, []);
  });

  test('a response of 200 kB is shown and voted on within seconds', async () => {
    const text = 'A line of a very long response, with **words**.\n'.repeat(4200);
    assert.ok(text.length > 200_000);
    const markdown = '- *one* `two` $x^2$\n'.repeat(2000);
    const queue = await createQueue([
      { prompt: 'Prompt of long', a: `${text}a`, b: `${text}b` },
      { prompt: 'Prompt of markdown', a: `${markdown}a`, b: `${markdown}b` },
    ]);
    const { page, problems } = await openRater('Hal', queue);
    const start = performance.now();
    for (const name of ['long', 'markdown']) {
      await page.getByText(`Prompt of ${name}`, { exact: true }).waitFor();
      await page.keyboard.press('a');
      await page.keyboard.press('a');
    }
    await page.getByRole('heading', { name: 'You have rated everything here' }).waitFor();
    assert.ok(performance.now() - start < 10_000, `${performance.now() - start} ms`);
    assert.deepEqual(problems, []);
  });

  test('a text from right to left is shown so, and code in it is not', async () => {
    const item = { prompt: 'ما هو البحر؟', a: 'البحر **واسع**.\n\n```\nx = 1\n```', b: 'The sea is wide.' };
    const queue = await createQueue([item]);
    const { page } = await openRater('Ida', queue);
    const directionOf = (locator: string) =>
      page
        .locator(locator)
        .first()
        .evaluate((element) => getComputedStyle(element).direction);
    await page.getByText('The sea is wide.').waitFor();
    const paragraph = (text: string) => `.markdown p:has-text("${text}")`;
    assert.deepEqual(
      [await directionOf(paragraph('البحر')), await directionOf('.markdown pre'), await directionOf(paragraph('sea'))],
      ['rtl', 'ltr', 'ltr'],
    );
  });

  test('axe-core finds nothing, in both themes, wide and on a phone', async () => {
    const calibration = {
      ...makeItems(1, 'first')[0],
      kind: 'calibration',
      expected: 'a',
      explanation: 'Look at `code`.',
    };
    const rich = {
      prompt: 'Prompt of rich',
      a: '# One\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote',
      b: '```\ncode\n```\n\n$x^2$',
    };
    const settings = {
      guidelines: '# Read\n\n[this](https://example.com)',
      tags: ['better style', 'more correct'],
      calibration: { items: 1, accuracy: 0 },
    };
    for (const colorScheme of ['light', 'dark'] as const)
      for (const viewport of [
        { width: 1280, height: 800 },
        { width: 390, height: 844 },
      ]) {
        await createQueue(makeItems(1));
        const queue = await createQueue([calibration, rich], { ...settings, reveal: true });
        const { page, problems } = await openRater('Jo', queue, { colorScheme, viewport });
        const where = `${colorScheme} ${viewport.width}`;
        const check = (state: string) => assertAccessible(page, `${where} ${state}`);
        await page.getByRole('dialog').getByText('Read').waitFor();
        await check('guidelines');
        await page.keyboard.press('Enter');
        await page.getByText('Practice.').waitFor();
        await check('item');
        await page.keyboard.press('a');
        await page.keyboard.press('1');
        await check('chosen');
        await page.keyboard.press('e');
        await page.getByLabel('Your better version of A').waitFor();
        await check('editing');
        await page.getByRole('button', { name: 'Discard my version' }).click();
        await check('discarded');
        await page.keyboard.press('?');
        await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
        await check('keys');
        await page.keyboard.press('Escape');
        await page.keyboard.press('Enter');
        await page.getByRole('button', { name: 'Next' }).waitFor();
        await check('answered');
        await page.keyboard.press('Enter');
        await page.locator('.markdown table').waitFor();
        await check('markdown');
        await page.keyboard.press('t');
        await page.keyboard.press('t');
        await page.getByRole('heading', { name: 'You have rated everything here' }).waitFor();
        await check('end');
        await page.getByRole('button', { name: 'Menu' }).click();
        await check('menu');
        await page.goto(`${rating.url}/rate`);
        await page.getByRole('heading', { name: 'What would you like to rate?' }).waitFor();
        await check('queues');
        await page.goto(`${rating.url}/rate/arena`);
        await page.getByRole('heading', { name: 'Compare two responses' }).waitFor();
        await check('arena');
        assert.deepEqual(problems, []);
      }
  });

  test('the page speaks the language of the browser, or the chosen one, and keeps the theme', async () => {
    const queue = await createQueue(makeItems(1));
    const { page } = await openRater('Kai', queue, { locale: 'de-DE', colorScheme: 'light' });
    await page.getByText('A ist besser').waitFor();
    assert.equal(await page.evaluate('document.documentElement.lang'), 'de');
    await page.getByRole('button', { name: 'Menü' }).click();
    await page.getByLabel('Darstellung').selectOption({ label: 'Dunkel' });
    await page.getByLabel('Sprache').selectOption({ label: 'English' });
    await page.getByText('A is better').waitFor();
    await page.reload();
    await page.getByText('A is better').waitFor();
    const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    assert.equal(background, 'rgb(18, 17, 22)');
  });

  test('in the arena both responses grow evenly, and the conversation goes on from the preferred one', async () => {
    await send(`/v1/policies/${long}/promote`, {});
    const { page, problems } = await openPage();
    await page.goto(`${rating.url}/sign-in`);
    await page.getByLabel('Key').fill(KEY);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Rate responses' }).click();
    await page.getByRole('link', { name: 'Arena' }).click();
    const bodies: Json[] = [];
    await page.route('**/v1/comparisons', (route) => {
      const body = route.request().postDataJSON();
      bodies.push(body);
      return route.continue({
        postData: JSON.stringify({ ...body, max_tokens: 40, seed: 5, logit_bias: { 1: -100, 2: -100 } }),
      });
    });
    await page.getByLabel('Your prompt').fill('Once');
    await page.keyboard.press('Enter');
    await page.getByText('A is better').waitFor();
    await page.keyboard.press('b');
    await page.keyboard.press('2');
    await page.keyboard.press('Enter');
    await page.getByTitle(long).first().waitFor();
    const read = async (side: string) =>
      (await page
        .getByRole('region', { name: `Response ${side}` })
        .locator('.markdown')
        .textContent()) ?? '';
    const second = await read('B');
    // The vote is changed, and the conversation goes on from the other response.
    await page.keyboard.press('Escape');
    await page.keyboard.press('z');
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await page.getByText('Last vote: A is better').waitFor();
    const first = await read('A');
    await page.getByLabel('Your prompt').fill('And then?');
    await page.keyboard.press('Enter');
    await page.getByText('Response A, which you preferred').waitFor();
    await page.getByText('A is better').waitFor();
    const { messages } = bodies[1];
    const normalise = (text: string) => text.replace(/\s+/g, '');
    assert.deepEqual(
      messages.map(({ role }: Json) => role),
      ['user', 'assistant', 'user'],
    );
    assert.equal(normalise(messages[1].content).length > 0, true);
    assert.notEqual(first, second);
    const { data } = await send('/v1/preferences?limit=1');
    assert.deepEqual([data[0].choice, data[0].strength, data[0].chosen.text], ['a', 'clearly', messages[1].content]);
    assert.ok(data[0].seconds >= 0);
    assert.deepEqual(problems, []);
  });

  test('the arena keeps the conversation and the vote over a reload, and tries again without a connection', async () => {
    const { page, problems } = await openPage();
    await page.goto(`${rating.url}/sign-in`);
    await page.getByLabel('Key').fill(KEY);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Rate responses' }).click();
    await page.getByRole('link', { name: 'Arena' }).click();
    await page.route('**/v1/comparisons', (route) => {
      const body = route.request().postDataJSON();
      return route.continue({ postData: JSON.stringify({ ...body, max_tokens: 20, seed: 5 }) });
    });
    const prompt = page.getByLabel('Your prompt');
    await page.context().setOffline(true);
    await prompt.fill('Once');
    await page.keyboard.press('Enter');
    await page.getByText('The server cannot be reached.').waitFor();
    assert.equal(await page.getByText(/fetch/i).count(), 0);
    assert.equal(await prompt.inputValue(), 'Once');
    await page.context().setOffline(false);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('A is better').waitFor();
    await page.keyboard.press('b');
    await page.keyboard.press('Enter');
    await page.getByText('Last vote: B is better').waitFor();
    await prompt.fill('And then?');
    await page.keyboard.press('Enter');
    await page.getByText('A is better').waitFor();
    await page.keyboard.press('a');
    const read = async () => (await page.locator('.item').textContent())!;
    const shown = await read();
    await page.reload();
    await page.getByText('Response B, which you preferred').waitFor();
    assert.equal(await read(), shown);
    assert.ok(await page.getByRole('radio', { name: 'A is better' }).isChecked());
    await page.keyboard.press('Enter');
    await page.getByText('Last vote: A is better').waitFor();
    await page.reload();
    await page.getByText('Last vote: A is better').waitFor();
    await page.getByRole('button', { name: 'New conversation' }).click();
    await page.reload();
    await page.getByRole('heading', { name: 'Compare two responses' }).waitFor();
    assert.deepEqual(
      problems.filter((problem) => !problem.includes('ERR_INTERNET_DISCONNECTED')),
      [],
    );
  });

  test('the page is smaller than 150 kB of gzip, and formulas are loaded when there are some', async () => {
    const html = readFileSync(path.join(DIST, 'rate/index.html'), 'utf8');
    const files = [...html.matchAll(/(?:src|href)="\/([^"]+)"/g)].map(([, file]) => file!);
    const sizes = ['rate/index.html', ...files].map((file) => gzipSync(readFileSync(path.join(DIST, file))).length);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    assert.ok(total < MAX_PAGE_BYTES, `${total} bytes`);
    assert.ok(!html.includes('katex'));
    const { headers } = await fetch(`${rating.url}/${files.find((file) => file.endsWith('.js'))}`);
    assert.equal(headers.get('content-encoding'), 'gzip');
  });
}
