// The console in a real browser: from a fresh server to a promoted policy by clicks alone, then every view of the loop with what
// that left behind, in both themes, wide and on a phone.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { activatePolicy } from '../shared/store/registry.ts';
import { assertAccessible } from '../testing/accessible.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { button, click, download, openConsole } from '../testing/console-page.ts';
import { type Json, startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startTrainer } from '../trainer/main.ts';

const DIST = path.resolve(import.meta.dirname, '../pages/dist');
/** What the console loads before the first plot. */
const MAX_PAGE_BYTES = 150_000;
/** So many that the gate is sure, whichever words were said. */
const VOTES = 160;
/** Ties, because the policy knows no happy words. */
const EXAMPLES = 300;

if (NO_BROWSER) test('the console', { skip: NO_BROWSER });
else {
  const settings = {
    LEARNING_RATE: '0.0007',
    EPOCHS: '10',
    BATCH_PAIRS: '8',
    TRAIN_MIN_PAIRS: '40',
    TRAIN_THREADS: '1',
    TRAIN_MEMORY: String(2 ** 30),
    TRAIN_HELD_OUT: '0.4',
    TRAIN_SCHEDULE: '0 0 1 1 *',
    // What a policy says that knows five words, the gate’s guards would not have.
    GATE_KL: '1000000',
    GATE_CHOSEN_DROP: '1000000',
    GATE_LENGTH: '1000000',
    GATE_REPETITION: '1',
    CANARY: 'off',
    WATCH_HOURS: '0',
    PRECISION: 'fp32',
  };
  const server = await startEdgeServer(settings, { isActive: false });
  const root = await server.importTiny(2, {
    family: 'gpt_neox',
    tied: false,
    says: [' the', ' and', ' she', ' was', '.'],
  });
  await activatePolicy(server.connection.db, root, 'test');
  const browser = await openBrowser();
  const { url } = server.edge;
  const { open, openPage, assertOnEveryScreen } = openConsole(url, null, browser);
  // Closed by the test that needs none, before Postgres is.
  const trainer = await startTrainer(server.settings, server.databaseUrl, () => {});
  const getActive = async () => (await server.request('/v1/loop')).body.active.policy as string;

  test('empty views say what to do next', async () => {
    const { page, problems } = await open('/console/rounds');
    await page.getByText('No round yet').waitFor();
    await assertAccessible(page, 'no rounds');
    await page.goto(`${url}/console/canaries`);
    await page.getByText('No canary yet').waitFor();
    await assertAccessible(page, 'no canaries');
    await page.goto(`${url}/console`);
    await page.getByText('Nothing was served in this time').waitFor();
    await assertAccessible(page, 'no traffic');
    await page.goto(`${url}/console/policies/compare`);
    await page.getByText('Compare two policies').waitFor();
    await page.goto(`${url}/console/nothing`);
    await page.getByText('There is no such page').waitFor();
    assert.deepEqual(problems, []);
  });

  test('on a phone a command is whole, and the entries of the menu are equally high', async () => {
    const { page } = await open('/console', { viewport: { width: 390, height: 844 } });
    const command = page.locator('.command pre');
    await command.waitFor();
    assert.ok(await command.evaluate((pre) => pre.scrollWidth <= pre.clientWidth), 'it is cut');
    await page.getByRole('button', { name: 'Now' }).click();
    const heights = await page.locator('#views a').evaluateAll((links) => links.map((link) => link.clientHeight));
    assert.equal(new Set(heights).size, 1, heights.join(' '));
  });

  test('from a fresh server to a promoted policy, back, and forth again, by clicks alone', async () => {
    const { page, problems } = await open('/');
    const step = (number: number) => page.locator('.step').nth(number - 1);
    const isDone = (number: number) => page.locator(`.step:nth-child(${number}).done`).waitFor();
    await page.getByRole('heading', { level: 1, name: /^Attune serves a small language model/ }).waitFor();
    await assertAccessible(page, 'the welcome of a fresh server');
    assert.equal(await page.locator('.step.done').count(), 0);

    await button(page, 'Complete').click();
    await step(1).getByText('by tiny 2').waitFor();
    await isDone(1);

    await button(page, 'Write two responses').click();
    for (let at = 0; at < VOTES; at++) {
      await waitUntil(() => button(page, 'A is better').isEnabled());
      const [a, b] = (await step(2).locator('.side p').allTextContents()).map(score);
      await click(page, a! > b! ? 'A is better' : b! > a! ? 'B is better' : 'They are equal');
      await button(page, 'Another one').click();
    }
    await isDone(2);
    await page.getByText('Nobody else to vote yet?').click();
    await click(page, 'Let them vote');
    await page.getByRole('progressbar', { name: 'Votes of the example raters' }).waitFor();
    await assertAccessible(page, 'example raters vote');
    await button(page, 'Let them vote').waitFor({ timeout: 300_000 });
    // Counted at most a twentieth of the time, so that it may lag.
    await waitUntil(async () => (await server.request('/v1/loop')).body.votes.total === VOTES + EXAMPLES);

    const first = await getActive();
    await button(page, 'Start a round').click();
    const dialog = page.getByRole('dialog', { name: 'Start a round' });
    assert.equal(await button(dialog, 'Start the round').isEnabled(), false);
    await button(dialog, 'Dry run').click();
    await dialog.getByText('it would run').waitFor({ timeout: 180_000 });
    await assertAccessible(page, 'a dry run');
    await button(dialog, 'Start the round').click();
    await step(3).getByText('Last round:').waitFor({ timeout: 180_000 });
    const [last] = (await server.request('/v1/rounds')).body.data;
    assert.equal(await step(3).locator('.badge').textContent(), 'Active', last.reason);
    await isDone(3);
    await page.getByText('The loop is running').waitFor();
    assert.notEqual(await getActive(), first);

    await page.getByRole('link', { name: 'Open the console' }).click();
    await page.getByText('Live', { exact: true }).waitFor();
    await button(page, 'Roll back').click();
    await assertAccessible(page, 'a question before a rollback');
    await button(page.getByRole('dialog'), 'Roll back').click();
    await waitUntil(async () => (await getActive()) === first);
    await page.getByText(`${first.slice(-6)} became active`).waitFor();

    await page.getByRole('link', { name: 'Policies', exact: true }).click();
    await page.locator('.descent a').first().click();
    await button(page, 'Promote').click();
    await button(page.getByRole('dialog'), 'Promote it').click();
    await page.locator('h1 .badge', { hasText: 'Active' }).waitFor();
    assert.notEqual(await getActive(), first);
    assert.deepEqual(problems, []);
  });

  test('every view of the loop is accessible in both themes, wide and on a phone', async () => {
    const [round] = (await server.request('/v1/rounds')).body.data.filter((row: Json) => !row.dry_run);
    const policies = (await server.request('/v1/policies')).body.data;
    const candidate = policies.find(({ active }: Json) => !active).id;
    const started = await server.request(`/v1/policies/${candidate}/canary`, { json: { share: 0.5 } });
    assert.equal(started.status, 200, JSON.stringify(started.body));
    // Four votes decide nothing, whichever side they are for.
    await voteOnComparisons(4);
    const views: [target: string, text: string | RegExp][] = [
      ['/', 'The loop is running'],
      ['/console', 'Evidence'],
      ['/console/rounds', round.id.slice(-6)],
      [`/console/rounds/${round.id}`, 'Agrees more with the raters'],
      ['/console/policies', 'imported'],
      [`/console/policies/${round.policy}`, 'Accuracy by precision'],
      ['/console/policies/compare', 'Nothing yet.'],
      ['/console/canaries', started.body.id.slice(-6)],
      [`/console/canaries/${started.body.id}`, 'Time to first token'],
    ];
    await assertOnEveryScreen(views);
  });

  test('a canary is shown with its votes, and ended by a click', async () => {
    const [canary] = (await server.request('/v1/canaries')).body.data;
    const { page, problems } = await open('/console/canaries');
    await page.getByRole('link', { name: canary.id.slice(-6) }).click();
    await page.locator('.plot canvas').waitFor();
    await button(page, 'Table').click();
    const rows = await page
      .getByRole('region', { name: 'Evidence over votes, as a table' })
      .locator('tbody tr')
      .count();
    assert.equal(rows, canary.votes.wins + canary.votes.losses);
    await button(page, 'End the canary').click();
    await button(page.getByRole('dialog'), 'End the canary').click();
    await page.locator('h1 .badge', { hasText: 'Cancelled' }).waitFor();
    assert.equal((await server.request(`/v1/canaries/${canary.id}`)).body.state, 'cancelled');
    assert.deepEqual(problems, []);
  });

  test('a plot is a table too, and both are files', async () => {
    const [round] = (await server.request('/v1/rounds')).body.data.filter((row: Json) => !row.dry_run);
    const { page, problems } = await open(`/console/rounds/${round.id}`);
    const loss = page.getByRole('region', { name: 'Loss', exact: true });
    await loss.locator('canvas').waitFor();
    const read = async (name: string) => {
      const file = await download(page, button(loss, name));
      return { name: file.name, content: await readFile(file.path) };
    };
    const csv = await read('CSV');
    assert.equal(csv.name, 'loss.csv');
    const lines = csv.content.toString().trim().split('\n');
    assert.equal(lines[0], 'step,Training batch,Held-out pairs');
    assert.match(lines[1]!, /^0,,1\.38/);
    const png = await read('PNG');
    assert.equal(png.name, 'loss.png');
    assert.equal(png.content.subarray(1, 4).toString(), 'PNG');
    await button(loss, 'Table').click();
    assert.equal(await loss.locator('tbody tr').count(), lines.length - 1);
    await assertAccessible(page, 'a plot as a table');
    assert.deepEqual(problems, []);
  });

  test('two policies answer one prompt side by side', async () => {
    const { page, problems } = await open('/console/policies');
    await page.getByRole('link', { name: 'Compare two' }).click();
    await button(page, 'Compare').click();
    await waitUntil(async () => (await page.getByText(/^\d+ tokens in /).count()) === 2);
    assert.deepEqual(problems, []);
  });

  test('what the loop does is asked for while it cannot be streamed', async () => {
    const { page } = await openPage();
    await page.route('**/v1/loop/events', (route) => route.abort());
    await page.goto(`${url}/console`);
    await page.getByText('Every few seconds').waitFor();
    await page.getByText(`${(await getActive()).slice(-6)} became active`).waitFor();
    await page.unroute('**/v1/loop/events');
    await page.getByText('Live', { exact: true }).waitFor();
  });

  test('a page says that the server does not answer, keeps what it shows, and says nothing when it answers again', async () => {
    const { page } = await open('/console/queues');
    await page.getByText('There is no queue yet').waitFor();
    await page.route(/\/(v1|status)/, (route) => route.abort());
    await page.getByRole('link', { name: 'Rounds', exact: true }).click();
    await page.getByText('The rounds cannot be read').waitFor();
    await page.getByText('The server does not answer. What is shown').waitFor();
    await assertAccessible(page, 'without a server');
    await page.unroute(/\/(v1|status)/);
    await page.getByText('The server does not answer. What is shown').waitFor({ state: 'detached' });
    await click(page, 'Try again');
    await page.getByRole('table', { name: /^Rounds/ }).waitFor();
  });

  test('a view that throws says so instead of being frozen, and is tried again by a click', async () => {
    const { page, problems } = await open('/console/queues');
    const list = { data: [null], has_more: false, last_id: null };
    await page.route('**/v1/rounds?*', (route) => route.fulfill({ json: list }));
    const rounds = page.getByRole('link', { name: 'Rounds', exact: true });
    const failure = page.getByText('Rounds cannot be shown');
    await rounds.click();
    await failure.waitFor();
    await assertAccessible(page, 'a view that threw');
    await click(page, 'Try again');
    await failure.waitFor();
    await page.getByRole('link', { name: 'Policies', exact: true }).click();
    await page.getByRole('heading', { name: 'Policies', exact: true }).waitFor();
    await rounds.click();
    await failure.waitFor();
    await page.unroute('**/v1/rounds?*');
    await click(page, 'Try again');
    await page.getByRole('heading', { name: 'Rounds', exact: true }).waitFor();
    assert.match(problems[0]!, /null/);
  });

  test('a round that waits is cancelled by a click, and its pairs stay new', async () => {
    await trainer.close();
    const { body: round } = await server.request('/v1/rounds', { json: {} });
    const { page, problems } = await open('/console/rounds');
    await page.getByRole('link', { name: round.id.slice(-6) }).click();
    await button(page, 'Cancel round').click();
    await button(page.getByRole('dialog'), 'Cancel the round').click();
    await page.locator('h1 .badge', { hasText: 'Cancelled' }).waitFor();
    await page.getByText('It trained nothing').waitFor();
    assert.equal((await server.request(`/v1/rounds/${round.id}`)).body.status, 'cancelled');
    await page.goto(url);
    await page.getByRole('link', { name: 'Decide Cancelled how the last round ended' }).waitFor();
    assert.deepEqual(problems, []);
  });

  test('with API_KEY the console asks to sign in, and a key that only reads sees nothing that it may not do', async () => {
    await withEdge(server, { API_KEY: 'a-secret-key' }, async (send, keyed) => {
      const headers = { authorization: 'Bearer a-secret-key' };
      const { body: key } = await send('/v1/keys', { name: 'reader', scopes: ['read'] }, headers);
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(keyed);
      await page.getByRole('link', { name: 'Sign in' }).click();
      await page.locator('input[name=key]').fill(key.key);
      await button(page, /Sign in/).click();
      await page.getByRole('link', { name: 'Console' }).click();
      await page.getByText('became active').waitFor();
      for (const name of ['Roll back', 'Start a round']) assert.equal(await button(page, name).count(), 0);
      for (const name of ['Keys', 'Audit', 'Playground'])
        assert.equal(await page.getByRole('link', { name, exact: true }).count(), 0);
      await page.goto(`${keyed}/console/keys`);
      await page.getByText('Keys is not for this key').waitFor();
    });
  });

  test('the keyboard reaches the views, and passes them', async () => {
    const { page } = await open('/console/rounds');
    await page.getByRole('heading', { name: 'Rounds', exact: true }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Start a round');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  });

  test('the first load is small: ECharts comes with the first plot', async () => {
    const { page } = await openPage();
    const files = new Set<string>();
    page.on('response', (response) => {
      const { pathname } = new URL(response.url());
      if (pathname.startsWith('/assets/')) files.add(pathname);
    });
    await page.goto(`${url}/console/rounds`);
    await page.getByRole('table').waitFor();
    const sizes = await Promise.all([...files].map(async (file) => gzipSync(await readFile(DIST + file)).length));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    assert.ok(total > 0 && total < MAX_PAGE_BYTES, `${total} bytes`);
    assert.ok(![...files].some((file) => file.includes('echarts')));
  });

  /** Of several raters, by what they say to the candidate's side. */
  async function voteOnComparisons(count: number): Promise<void> {
    for (let at = 0; at < count; at++) {
      const { body } = await server.request('/v1/comparisons', { json: { prompt: `Canary ${at}:`, max_tokens: 4 } });
      const json = { comparison: body.id, choice: at % 3 === 0 ? 'b' : 'a', rater: `rater ${at % 4}` };
      assert.equal((await server.request('/v1/preferences', { json })).status, 200);
    }
  }
}

/** What the votes prefer, and a policy of five words learns in a few steps. */
function score(text: string): number {
  const count = (word: RegExp) => text.match(word)?.length ?? 0;
  return count(/was/g) - count(/and/g);
}
