// The console's views of who may do what: keys, the audit log, settings and webhooks, and what a key without a scope sees.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { rounds } from '../shared/database/schema.ts';
import { assertAccessible } from '../testing/accessible.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { click, closed, openConsole, press } from '../testing/console-page.ts';
import { startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { WebhookReceiver } from '../testing/webhook-receiver.ts';

const KEY = 'a-secret-key';

if (NO_BROWSER) test('the console of administrators', { skip: NO_BROWSER });
else {
  const receiver = await new WebhookReceiver().open();
  const server = await startEdgeServer({ API_KEY: KEY, PRECISION: 'fp32', ...receiver.settings });
  const { url } = server.edge;
  const browser = await openBrowser();
  const { send, open, assertOnEveryScreen } = openConsole(url, KEY, browser);

  test('while there is nothing, each view says what to do next', async () => {
    await assertOnEveryScreen([
      ['/console/preferences', 'npx attune preferences import votes.jsonl'],
      ['/console/queues', 'npx attune queues create "Support answers"'],
      ['/console/queues?show=raters', 'npx attune raters create "Ann Example"'],
      ['/console/leaderboard', 'There are no votes between two policies'],
      ['/console/playground', 'Say something'],
      ['/console/keys', 'npx attune keys create "chat backend" --scope generate feedback'],
    ]);
    const { page } = await open('/console/keys', {}, (await send('/v1/keys', { name: 'reads', scopes: ['read'] })).key);
    await page.getByText('It needs a key with the scope admin; this one has read.').waitFor();
    await page.goto(`${url}/console/queues`);
    await page.getByText('There is no queue yet').waitFor();
    assert.equal(await page.getByRole('button', { name: 'New queue' }).count(), 0);
  });

  test('a page that follows the loop notices within a minute that its browser has signed out', async () => {
    const { page } = await open('/sign-in');
    await page.clock.install();
    await page.goto(`${url}/console`);
    await page.getByText('Live', { exact: true }).waitFor();
    // As signing out in another tab does.
    await page.context().clearCookies();
    await page.clock.fastForward('01:00');
    await page.getByText('No answer; this is old').waitFor();
  });

  test('a key is made by clicks and shown once, given a new secret, and revoked by the keyboard', async () => {
    const { page, problems } = await open('/console/keys');
    await click(page, 'New key');
    await page.getByLabel('Name').fill('chat');
    await click(page, 'Create the key');
    await page.getByText('Choose what the key may do.').waitFor();
    await click(page, 'Chat backend');
    await page.getByLabel(/^feedback/).uncheck();
    await page.getByLabel('Requests per minute').fill('90');
    await page.getByLabel('Expires').selectOption('in 30 days');
    await assertAccessible(page, 'a new key');
    await click(page, 'Create the key');
    const shown = page.getByRole('dialog', { name: 'The key chat' });
    const text = (await shown.locator('pre').textContent())!;
    const models = (key: string) => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    assert.equal((await models(text)).status, 200);
    await click(page, 'Done');
    await closed(page);
    const row = page.getByRole('row', { name: /chat/ });
    await row.getByText('90 requests / min').waitFor();
    await page.getByText(text).waitFor({ state: 'detached' });

    await row.getByRole('button', { name: 'Rotate chat' }).focus();
    await press(page, 'Enter');
    await page.getByText('The one before stops working within a second').waitFor();
    await page.getByRole('button', { name: 'Rotate', exact: true }).focus();
    await press(page, 'Enter');
    const next = (await shown.locator('pre').textContent())!;
    assert.notEqual(next, text);
    await waitUntil(async () => (await models(text)).status === 401);
    assert.equal((await models(next)).status, 200);
    await press(page, 'Escape');
    await closed(page);
    await row.getByRole('button', { name: 'Revoke chat' }).focus();
    await press(page, 'Enter');
    await page.getByText('This cannot be undone.').waitFor();
    await press(page, 'Tab', 'Enter');
    await closed(page);
    await row.waitFor({ state: 'detached' });
    await waitUntil(async () => (await models(next)).status === 401);
    await page.getByLabel('Show revoked and expired ones').check();
    await page.getByRole('row', { name: /chat.*revoked/ }).waitFor();
    assert.deepEqual(problems, []);
  });

  test('settings say where they are from, and a webhook event is sent again', async () => {
    const { page, problems } = await open('/console/settings');
    await page.getByLabel('Find a setting').fill('precision');
    await page.waitForURL(/find=precision/);
    const row = page.locator('.setting-list > div', { has: page.getByText('PRECISION', { exact: true }) });
    await row.getByText('environment').waitFor();
    assert.match((await row.textContent())!, /fp32.*default row8/);
    await page.getByLabel('Find a setting').fill('');
    await page.getByLabel(/^Only the/).check();
    await page.getByText('•••••• set').first().waitFor();
    assert.equal((await page.locator('main').textContent())!.includes(KEY), false);

    await click(page, 'Webhook events');
    const { id } = (
      await waitUntil(async () => {
        const { data } = await send('/v1/webhook-events?state=delivered');
        return data.length > 0 && data;
      })
    )[0];
    const count = () => receiver.received.filter((received) => received.id === id).length;
    const before = count();
    await page.reload();
    await page
      .getByRole('button', { name: /^Send again/ })
      .first()
      .click();
    await page.getByRole('dialog').getByRole('button', { name: 'Send again' }).click();
    await closed(page);
    await waitUntil(() => count() > before);
    assert.deepEqual(problems, []);
  });

  test('the audit log says who did this, in both orders, and is downloaded whole', async () => {
    await send('/v1/raters', { name: 'Ann' });
    const { page, problems } = await open('/console/audit');
    await page.getByRole('row', { name: /Rater created.*Ann/ }).waitFor();
    await click(page, 'Oldest first');
    await page.waitForURL(/order=asc/);
    await page
      .getByRole('row', { name: /Session created/ })
      .first()
      .waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByText('Export').click()]);
    assert.equal(download.suggestedFilename(), 'audit.jsonl');
    await page.getByLabel('Action').selectOption('rater.');
    await page.waitForURL(/action=rater\./);
    await waitUntil(async () => (await page.getByRole('row', { name: /Session created/ }).count()) === 0);
    await page.getByRole('row', { name: /Rater created.*Ann/ }).waitFor();
    await page.getByLabel('From').fill('2999-01-01');
    await page.getByText('No event has all of these.').waitFor();
    await click(page, 'Clear the filters');
    await page
      .getByRole('row', { name: /Session created/ })
      .first()
      .waitFor();
    assert.deepEqual(problems, []);
  });

  test('without API_KEY and WEBHOOK_URL the views say what that means', () =>
    withEdge(server, { PRECISION: 'fp32' }, async (_, address) => {
      const { page, problems } = await openConsole(address, null, browser).open('/console/keys');
      await page.getByText('also accepts every request without a key').waitFor();
      await page.goto(`${address}/console/settings?show=webhooks&state=pending`);
      await page.getByText('WEBHOOK_URL is not set, so that nothing is sent.').waitFor();
      await page.goto(`${address}/console/settings?show=webhooks`);
      const again = page.getByRole('button', { name: /^Send again/ }).first();
      await again.waitFor();
      await waitUntil(() => again.isDisabled());
      assert.deepEqual(problems, []);
    }));

  test('a dry run is no round among rounds, and a round beside a canary is warned of', async () => {
    const dryRun = await send('/v1/rounds', { dry_run: true });
    const { page, problems } = await open('/console/rounds');
    await page.getByText('Dry runs only').waitFor();
    await page.getByLabel('Show dry runs').check();
    await page.waitForURL(/dry_runs=yes/);
    await page.getByRole('row', { name: new RegExp(`${dryRun.id.slice(-6)} Waiting dry run .* – – –`) }).waitFor();

    await click(page, 'Start a round');
    const dialog = page.getByRole('dialog', { name: 'Start a round' });
    await dialog.getByText('It replaces the active policy only if the gate finds it better.').waitFor();
    const start = dialog.getByRole('button', { name: 'Start the round' });
    assert.equal(await start.isDisabled(), true);
    await dialog.getByText('Run the dry run first.').waitFor();
    assert.equal(await dialog.getByLabel('Objective').locator('option').first().textContent(), 'As configured (bce)');
    await click(dialog, 'Dry run');
    const { id } = await waitUntil(async () => {
      const [newest] = (await send('/v1/rounds?limit=1')).data;
      return newest.id !== dryRun.id && newest;
    });
    const found = ['parent', 'left out', 'origins', 'quality', 'settings', 'engine', 'memory', 'time', 'gate'];
    const preview = [
      ...found.map((name) => ({ name, text: 'as many words as it takes, '.repeat(12) })),
      { name: 'decision', text: '`attune train` would run it; the schedule waits: 3 of 20 pairs' },
    ];
    const end = { status: 'succeeded', stage: 'previewed', finished_at: new Date(), preview } as const;
    await server.connection.db.update(rounds).set(end).where(eq(rounds.id, id));
    await dialog.getByText('It would run. The schedule waits: 3 of 20 pairs').waitFor();
    assert.deepEqual(
      await dialog
        .locator('dt')
        .allTextContents()
        .then((names) => names.slice(0, 3)),
      ['Decision', 'Gate', 'Time'],
    );
    // Its buttons stay on the screen, whatever the dry run found.
    await dialog.getByText('Details').click();
    const box = await start.boundingBox();
    assert.ok(box && box.y + box.height <= page.viewportSize()!.height, JSON.stringify(box));
    assert.equal(await start.isEnabled(), true);
    await assertAccessible(page, 'a dry run with all that it found');
    await press(page, 'Escape');
    await closed(page);

    const candidate = await server.importTiny(2);
    const canary = await send(`/v1/policies/${candidate}/canary`, { share: 0.5 });
    await click(page, 'Start a round');
    await dialog.getByText('its policy is only published').waitFor();
    await assertAccessible(page, 'a round beside a canary');
    await dialog.getByRole('link', { name: 'canary' }).click();
    await page.waitForURL(`${url}/console/canaries/${canary.id}`);
    await send(`/v1/canaries/${canary.id}/cancel`, {});

    await page.goto(`${url}/console/audit`);
    await page
      .getByRole('row', { name: /Dry run requested/ })
      .first()
      .waitFor();
    await page
      .getByRole('row', { name: /Canary started/ })
      .getByRole('link')
      .click();
    await page.waitForURL(`${url}/console/canaries/${canary.id}`);
    assert.deepEqual(problems, []);
  });

  test('axe-core finds nothing in these views, in both themes, wide and on a phone', async () => {
    await assertOnEveryScreen([
      ['/console/keys', 'reads'],
      ['/console/audit', 'Rater created'],
      ['/console/settings', 'PRECISION'],
      ['/console/settings?show=webhooks', 'policy.activated'],
      ['/console/nothing', 'There is no such page'],
    ]);
  });
}
