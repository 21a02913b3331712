// The playground in a real browser: chats that are streamed, stopped, judged, compared, and can be read as code.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAccessible } from '../testing/accessible.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { click, closed, openConsole, press } from '../testing/console-page.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

if (NO_BROWSER) test('the playground', { skip: NO_BROWSER });
else {
  const server = await startEdgeServer({ PRECISION: 'fp32' });
  const root = server.policyId;
  // Words, and no characters that are Markdown by chance.
  const says = [' the', ' was'];
  const long = await server.importTiny(3, { contextLength: 16_384, family: 'gpt_neox', tied: false, says });
  const { send, open, assertOnEveryScreen } = openConsole(server.edge.url, null, await openBrowser());

  test('a chat in the playground is streamed, stopped, judged, generated again and compared, and can be read as code', async () => {
    const { page, problems } = await open('/console/playground');
    const replies = page.locator('.reply.done');
    await page.getByLabel('Seed').fill('5');
    await page.getByLabel('Max tokens').fill('12');
    await page.getByLabel('Message', { exact: true }).fill('Once upon a time');
    await press(page, 'Enter');
    await replies.first().waitFor();
    await click(page, 'Good reply');
    const [said] = await waitUntil(async () => {
      const { data } = await send('/v1/feedback');
      return data.length > 0 && data;
    });
    assert.equal(said.thumb, 1);
    const stored = await send(`/v1/chat/completions/${said.generation}`);
    assert.equal(stored.choices[0].message.content.trim(), (await replies.locator('.markdown').textContent())!.trim());

    await click(page, 'Tokens');
    const map = page.getByRole('listbox', { name: /^Tokens of the reply/ });
    await map.focus();
    await page.locator('.tip:not([hidden])').getByText('instead of').waitFor();
    await press(page, 'Escape');
    await assertAccessible(page, 'tokens of a reply');
    await click(page, 'Code');
    const code = page.getByRole('dialog', { name: 'The same request' }).locator('pre');
    const command = (await code.textContent())!;
    const body = JSON.parse(/-d '([\s\S]*)'/.exec(command)![1]!);
    assert.deepEqual([body.seed, body.max_tokens, body.messages.length], [5, 12, 1]);
    const again = await send('/v1/chat/completions', { ...body, stream: false });
    assert.equal(again.choices[0].message.content, stored.choices[0].message.content);
    await click(page, 'Python');
    await code.getByText('from openai import OpenAI').waitFor();
    await press(page, 'Escape');
    await closed(page);

    await click(page, 'Regenerate');
    await waitUntil(async () => (await page.getByLabel('Seed').inputValue()) === '6');
    await replies.first().waitFor();
    await page.getByLabel('Compare with').selectOption(root);
    await page.getByLabel('Message', { exact: true }).fill('And then');
    await press(page, 'Enter');
    await replies.nth(2).waitFor();
    assert.equal(await page.locator('.reply').count(), 3);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 844 });
        await assertAccessible(page, `two replies beside each other, ${colorScheme}, ${width}`);
      }
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    await click(page, 'New chat');
    await page.getByLabel('Compare with').selectOption('');
    await page.getByLabel('JSON Schema').fill('{"type": "boolean"}');
    await page.getByText('Once upon a time, there was a little fox who').click();
    await replies.first().waitFor();
    assert.match((await page.locator('.reply .tokens').textContent())!, /true|false/);
    await page.getByLabel('JSON Schema').fill('{');
    await page.getByLabel('Message', { exact: true }).fill('More');
    await press(page, 'Enter');
    await page.getByText('The schema is not valid JSON').waitFor();
    assert.deepEqual(problems, []);
  });

  /** A chat whose first reply is being written, for as long as nobody stops it. */
  async function openLongReply() {
    const opened = await open(`/console/playground?policy=${long}`);
    const { page } = opened;
    // As fast as one reads, and not as a tiny policy writes, which a page is too slow to show.
    const client = await page.context().newCDPSession(page);
    const speed = { offline: false, latency: 0, downloadThroughput: 50_000, uploadThroughput: -1 };
    await client.send('Network.emulateNetworkConditions', speed);
    // A policy of random weights ends wherever it is, unless it must not.
    await page.route('**/v1/chat/completions', (route) =>
      route.continue({ postData: { ...route.request().postDataJSON(), logit_bias: { 1: -100, 2: -100 } } }),
    );
    await page.getByLabel('Message', { exact: true }).fill('Once');
    await press(page, 'Enter');
    await page
      .locator('.reply.writing .markdown')
      .getByText(/the|was/)
      .first()
      .waitFor();
    return opened;
  }

  test('a long reply is stopped by Escape, and what is there stays', async () => {
    const { page, problems } = await openLongReply();
    await press(page, 'Escape');
    await page.locator('.reply.stopped').getByText('stopped').waitFor();
    assert.notEqual(await page.locator('.reply.stopped .markdown').textContent(), '');
    assert.deepEqual(problems, []);
  });

  test('a reply is written on while one looks at another view, and can be stopped and followed by others after that', async () => {
    const { page, problems } = await openLongReply();
    const leave = async () => {
      await page.getByRole('link', { name: 'Rounds', exact: true }).click();
      await page.getByText('No round yet').waitFor();
    };
    const comeBack = () => page.getByRole('link', { name: 'Playground', exact: true }).click();
    const reply = page.locator('.reply');
    const before = (await reply.locator('.markdown').textContent())!;
    await leave();
    await comeBack();
    await waitUntil(async () => (await reply.locator('.markdown').textContent())!.length > before.length + 20);
    await click(page, /^Stop/);
    await page.locator('.reply.stopped').getByText('stopped').waitFor();

    await page.getByLabel('Max tokens').fill('4');
    await click(page, 'Regenerate');
    await page.locator('.reply.done').waitFor();
    await page.getByLabel('Message', { exact: true }).fill('And then');
    await click(page, 'Send');
    await page.locator('.reply.done').nth(1).waitFor();
    assert.equal(await reply.count(), 2);

    // What is stored of a judgement is shown, wherever one was when it was.
    let letPass = () => {};
    const isLeft = new Promise<void>((resolve) => {
      letPass = resolve;
    });
    await page.route('**/v1/feedback', (route) => isLeft.then(() => route.continue()));
    const stored = page.waitForResponse('**/v1/feedback');
    await reply.nth(1).getByRole('button', { name: 'Good reply' }).click();
    await leave();
    letPass();
    await (await stored).finished();
    await comeBack();
    await reply.nth(1).getByRole('button', { name: 'Good reply', pressed: true }).waitFor();
    assert.deepEqual(problems, []);
  });

  test('two policies beside each other are accessible in both themes, wide and on a phone', async () => {
    await assertOnEveryScreen([
      [`/console/playground?with=${root}`, 'Say something'],
      [`/console/playground?with=${root}&show=tokens`, 'Say something'],
    ]);
  });
}
