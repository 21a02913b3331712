// The console's views of people in a real browser: raters, queues, preferences and the leaderboard, by clicks and by the
// keyboard, in both themes, wide and on a phone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { activatePolicy } from '../shared/store/registry.ts';
import { assertAccessible } from '../testing/accessible.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { click, closed, openConsole, press } from '../testing/console-page.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { storePolicyVotes } from '../testing/stored-rows.ts';

const KEY = 'a-secret-key';

if (NO_BROWSER) test('the console of people', { skip: NO_BROWSER });
else {
  const server = await startEdgeServer({ API_KEY: KEY, PRECISION: 'fp32' });
  const { url } = server.edge;
  const { db } = server.connection;
  const { send, open, openPage, assertOnEveryScreen } = openConsole(url, KEY, await openBrowser());
  const root = server.policyId;

  test('a rater is made and invited, and the link signs a browser in', async () => {
    const { page, problems } = await open('/console/queues');
    await click(page, 'Raters');
    await click(page, 'New rater');
    await page.getByLabel('Name').fill('Ann');
    await page.getByLabel('Skills').fill('german, law');
    await press(page, 'Enter');
    await page.getByRole('dialog', { name: 'Invite Ann' }).waitFor();
    await assertAccessible(page, 'an invitation');
    await page.getByLabel('The link expires').focus();
    await press(page, 'Tab', 'Tab', 'Enter');
    const link = (await page.getByRole('dialog', { name: 'The link for Ann' }).locator('pre').textContent())!;
    const rater = await openPage();
    await rater.page.goto(link);
    await rater.page.getByRole('button', { name: /^Sign in/ }).click();
    await rater.page.waitForURL(`${url}/rate`);
    await click(page, 'Done');
    await closed(page);
    await page.getByRole('row', { name: /Ann.*german.*law.*active/ }).waitFor();
    await click(page, 'Deactivate Ann');
    await click(page, 'Deactivate');
    await page.getByRole('row', { name: /Ann.*inactive/ }).waitFor();
    await click(page, 'Activate Ann');
    await click(page, 'Activate');
    await page.getByRole('row', { name: /Ann.*active/ }).waitFor();
    assert.deepEqual(problems, []);
  });

  /** As an end user of a backend; `choose`: by the text of side A. */
  const rate = async (queue: string, rater: string, choose: (text: string) => Json) => {
    for (;;) {
      const reservation = await send(`/v1/queues/${queue}/next`, { rater });
      if (reservation.id === null) return;
      await send(`/v1/reservations/${reservation.id}/vote`, choose(reservation.a.text));
    }
  };
  const preferSea = (text: string) => ({ choice: text.includes('sea') ? 'a' : 'b' });
  const preferSnow = (text: string) => ({ choice: text.includes('Snow') ? 'a' : 'b' });

  test('a queue is made, filled, measured and steered', async () => {
    const { page, problems } = await open('/console/queues');
    await click(page, 'New queue');
    await page.getByLabel('Name').fill('Sea or snow');
    await page.getByLabel('Guidelines').fill('# Prefer the **sea**');
    await page.getByLabel('Reviews of each item').fill('2');
    await page.getByLabel('Gold items, %').fill('0');
    // No chance in which items are voted on last: the one drawn from traffic, and before it one about sea or snow.
    await page.getByText('More settings').click();
    await page.getByLabel('Order of the items').selectOption('as imported');
    await page.getByLabel('Repeated items, %').fill('0');
    await page.getByLabel('Reasons to choose from').fill('wetter, warmer');
    await assertAccessible(page, 'a new queue');
    await click(page, 'Create the queue');
    await page.getByText('The queue has no items').waitFor();
    await assertAccessible(page, 'an empty queue');
    const queue = page.url().split('/').at(-1)!;

    await page.getByRole('button', { name: 'Add items' }).first().click();
    await page.getByRole('textbox', { name: 'Items' }).fill('How do I sail?\nHow do I ski?');
    await page.getByRole('button', { name: 'A prompt on each line', pressed: true }).waitFor();
    await page.getByRole('textbox', { name: 'Items' }).fill('{"prompt": 1}');
    await page.getByRole('button', { name: 'JSONL', pressed: true }).waitFor();
    await click(page, 'Add 1');
    await page.getByRole('alert').getByText('row 1').waitFor();
    const items = Array.from({ length: 8 }, (_, at) =>
      JSON.stringify({ prompt: `Prompt ${at}`, a: `The sea ${at} is wide.`, b: `Snow ${at} on every mountain.` }),
    );
    await page.getByRole('textbox', { name: 'Items' }).fill(items.join('\n'));
    await assertAccessible(page, 'items for a queue');
    await click(page, 'Add 8');
    await closed(page);
    await page.getByText('0 of 16').waitFor();
    await page.getByText('Guidelines, version 1').click();
    assert.equal(await page.locator('.guidelines strong').textContent(), 'sea');

    await send('/v1/chat/completions', { messages: [{ role: 'user', content: 'Once upon' }], max_tokens: 4 });
    await click(page, 'Draw from traffic');
    await page.getByLabel('Of the user').fill('nobody');
    await click(page, 'Draw 50');
    await page.getByText('No completion matches').waitFor();
    await page.getByLabel('Of the user').fill('');
    await click(page, 'Draw 50');
    await closed(page);
    await page.getByText('0 of 18').waitFor();

    await rate(queue, 'bea', (text) => ({ ...preferSea(text), strength: 'much', tags: ['wetter'], seconds: 4 }));
    await rate(queue, 'cai', (text) => (/(sea|Snow) 3/.test(text) ? preferSnow(text) : preferSea(text)));
    await page.reload();
    await page.getByText('18 of 18').waitFor();
    const raters = page.getByRole('region', { name: 'Raters of this queue' });
    await raters.getByRole('row', { name: /bea 9 0/ }).waitFor();
    await click(page, 'Pause cai');
    await page.getByLabel('Reason', { exact: true }).fill('too fast');
    await click(page, 'Pause');
    await raters.getByRole('row', { name: /cai.*paused/ }).waitFor();
    await click(page, 'Resume cai');
    await page.getByText('Paused because: too fast.').waitFor();
    await click(page, 'Resume');
    await raters.getByRole('row', { name: /cai.*rating/ }).waitFor();

    await click(page, 'Split');
    await page.waitForURL(/items=split/);
    const split = page.getByRole('checkbox', { name: /^Choose: Prompt 3/ });
    await split.focus();
    await press(page, 'Space');
    await click(page, 'Requeue 1');
    await page.getByRole('dialog').getByRole('button', { name: 'Requeue 1' }).click();
    await page.getByText('16 of 18').waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByText('Export').click()]);
    assert.equal(download.suggestedFilename(), `${queue}.jsonl`);
    await click(page, 'Edit');
    await page.getByLabel('Reviews of each item').fill('3');
    await page.getByLabel('Reasons to choose from').fill('wetter');
    await page.getByText('are given out again').waitFor();
    await page.getByText('More settings').click();
    await page.getByLabel('Minutes for an item').fill('2.5');
    await assertAccessible(page, 'the settings of a queue');
    await click(page, 'Save the settings');
    await closed(page);
    await page.getByText('3 for each item').waitFor();
    const { settings, guidelines } = await send(`/v1/queues/${queue}`);
    assert.deepEqual([settings.reviews, settings.tags, settings.reservation_seconds], [3, ['wetter'], 150]);
    assert.equal(guidelines.version, 1);
    await page.getByText('16 of 27').waitFor();

    await click(page, 'Close');
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    await click(page, 'Reopen');
    await page.getByRole('dialog').getByText('Its items are given out again').waitFor();
    await press(page, 'Escape');
    assert.deepEqual(
      problems.filter((problem) => !problem.includes('400 (Bad Request)')),
      [],
    );
  });

  test('preferences are listed, and a pair shows its texts, its log-ratios by token, and its raters', async () => {
    const better = await server.importTiny(2, { reference: root });
    await activatePolicy(db, better, 'test');
    const { page, problems } = await open('/console/preferences');
    const rows = page.getByRole('list', { name: 'Preferences' }).getByRole('link');
    await rows.first().focus();
    await press(page, 'ArrowDown', 'ArrowDown', 'ArrowUp');
    const second = rows.nth(1);
    assert.ok(await second.evaluate((link) => link === document.activeElement));
    await press(page, 'Enter');
    await page
      .getByRole('region', { name: 'Chosen' })
      .getByText(/sea|Snow/)
      .waitFor();
    await page.getByRole('region', { name: 'Raters of this comparison' }).first().waitFor();
    const { choice } = await readPreference(page);
    const chosen = page.getByRole('region', { name: 'Chosen' });
    await chosen.getByText(`Response ${choice.toUpperCase()}, given with the item`).waitFor();

    await click(page, 'Heat map');
    const map = page.getByRole('listbox', { name: /^Tokens of the response Chosen/ });
    await map.waitFor();
    await page.getByText('against the root').waitFor();
    await map.focus();
    await press(page, 'ArrowRight', 'ArrowRight', 'End', 'ArrowLeft', 'Home');
    const tip = page.locator('.tip:not([hidden])');
    await tip.getByText('log π_ref').waitFor();
    const { data } = await send('/v1/score', {
      ...(await readPrompt(page)),
      responses: [await readChosen(page)],
      model: better,
    });
    const [first] = data[0].tokens;
    const expected = `${first.log_ratio < 0 ? '−' : '+'}${Math.abs(first.log_ratio).toFixed(3)}`;
    await tip.getByText(expected).waitFor();
    await press(page, 'Escape');
    await map.getByRole('option').nth(3).hover();
    await tip.waitFor();
    await assertAccessible(page, 'a heat map');
    await page
      .getByText(/tokens as a table/)
      .first()
      .click();
    await page
      .getByRole('table', { name: /^Tokens of the response Chosen/ })
      .getByText(expected)
      .first()
      .waitFor();
    // The root has learned nothing.
    await page.getByLabel('Policy of the log-ratios').selectOption(root);
    await page.getByText('is the root of its line').waitFor();
    await page.reload();
    await page.getByText('is the root of its line').waitFor();

    // Each filter is in the address.
    await page.goto(`${url}/console/preferences?rater=user:bea`);
    await page.getByText('9 preferences').waitFor();
    assert.equal(await page.getByLabel('Rater').inputValue(), 'bea');
    await page.getByLabel('Rater').fill('cai');
    await press(page, 'Enter');
    await page.waitForURL(/rater=user%3Acai/);
    await page.getByLabel('Rater').fill('');
    await rows.nth(10).waitFor();
    await page.getByLabel('Rater').fill('bea');
    await press(page, 'Enter');
    await page.getByText('9 preferences').waitFor();
    await page.getByLabel('Search prompts and responses').fill('sea 3');
    await page.getByText('1 preference', { exact: true }).waitFor();
    await click(page, 'Clear');
    await page.getByLabel('Search prompts and responses').fill('"sea 3"');
    await page.waitForURL(/search=/);
    await page.getByText('2 preferences').waitFor();
    await page.reload();
    await page.getByText('2 preferences').waitFor();
    await page.getByLabel('Queue').selectOption({ label: 'Sea or snow' });
    await page.getByLabel('Choice').selectOption('Tie');
    await page.waitForURL(/queue=.*choice=tie/);
    await page.getByText('Nothing matches').waitFor();
    await click(page, 'Clear the filters');
    await page.waitForURL(`${url}/console/preferences`);
    await rows.nth(10).waitFor();
    assert.deepEqual(problems, []);
  });

  const readPreference = (page: Page) => send(`/v1/preferences/${new URL(page.url()).pathname.split('/').at(-1)}`);
  const readChosen = async (page: Page) => (await readPreference(page)).chosen.text;
  const readPrompt = async (page: Page) => {
    const { prompt } = await readPreference(page);
    return typeof prompt === 'string' ? { prompt } : { messages: prompt };
  };

  test('the leaderboard ranks policies by their votes, with what it is filtered by in the address', async () => {
    const other = await server.importTiny(4);
    const votes = Array.from({ length: 40 }, (_, at) => ({
      a: root,
      b: other,
      choice: at % 4 === 0 ? ('b' as const) : at % 9 === 0 ? ('tie' as const) : ('a' as const),
      rater: `rater ${at % 8}`,
      prompt: `prompt ${at % 10}`,
      textA: 'yes '.repeat(1 + (at % 7)),
      textB: 'no '.repeat(1 + (at % 5)),
    }));
    await storePolicyVotes(db, 'default', votes);
    const { page, problems } = await open('/console/leaderboard');
    const ranking = page.getByRole('table', { name: 'Ranking of the policies' });
    await ranking.getByRole('row', { name: /^1 .*tiny 1/ }).waitFor();
    await page.getByText('would be first in place of').waitFor();
    const matrix = page.getByRole('table', { name: /^Win rates/ });
    assert.equal(await matrix.getByRole('row').count(), 3);
    await click(page, 'Without ties');
    await page.waitForURL(/ties=dropped/);
    await page.getByLabel('Take style out').check();
    await page.getByRole('table', { name: 'Points by feature' }).waitFor();
    await page.getByLabel('Queue').selectOption({ label: 'Sea or snow' });
    await page.getByText('None of the votes that match').waitFor();
    await click(page, 'Clear the filters');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('region', { name: 'Ranking', exact: true }).getByRole('button', { name: 'CSV' }).click(),
    ]);
    assert.equal(download.suggestedFilename(), 'leaderboard.csv');
    assert.deepEqual(problems, []);
  });

  test('the page of a vote says which policy wrote which response', async () => {
    const { page, problems } = await open('/console/preferences?rater=user:voter');
    const other = await server.importTiny(5);
    const vote = { a: root, b: other, choice: 'b', rater: 'user:voter', prompt: 'Which one?' } as const;
    await storePolicyVotes(db, 'default', [vote]);
    await page.reload();
    await page.getByRole('link', { name: /Which one/ }).click();
    await page.getByRole('heading', { name: 'B is better' }).waitFor();
    for (const [side, text, policy] of [
      ['Chosen', 'Response B, by', other],
      ['Rejected', 'Response A, by', root],
    ] as const) {
      const response = page.getByRole('region', { name: side });
      await response.getByText(text).waitFor();
      const address = await response.getByRole('link').getAttribute('href');
      assert.equal(address, `/console/policies/${policy}`);
    }
    await assertAccessible(page, 'a vote on two policies');
    assert.deepEqual(problems, []);
  });

  test('axe-core finds nothing in any of these views, in both themes, wide and on a phone', async () => {
    const { data } = await send('/v1/preferences?limit=1');
    const queues = await send('/v1/queues');
    await assertOnEveryScreen([
      ['/console/preferences', 'Prompt'],
      [`/console/preferences/${data[0].id}`, 'The vote'],
      ['/console/queues', 'Sea or snow'],
      ['/console/queues?show=raters', 'Ann'],
      [`/console/queues/${queues.data[0].id}`, 'Split items'],
      ['/console/leaderboard', 'How sure it is'],
    ]);
  });
}
