// The rating page in a real browser: a rater's hour in small by the keyboard alone, and what interrupts it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import type { Page } from 'playwright-core';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { makeItems, openRatingServer, type RatingServer } from '../testing/rating-page.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorkerServer } from '../testing/worker-server.ts';

const KEY = 'a-secret-key';

if (NO_BROWSER) test('the rating page', { skip: NO_BROWSER });
else {
  const server = await startEdgeServer({ API_KEY: KEY, PRECISION: 'fp32' });
  const browser = await openBrowser();
  const rating = openRatingServer(server.edge.url, KEY, browser);
  const { send, createQueue, openRater } = rating;

  const listVotes = async (queue: string): Promise<Json[]> =>
    (await send('/v1/preferences?limit=100')).data.filter((row: Json) => row.queue === queue);

  const testHour = async ({ send, createQueue, invite, openPage }: RatingServer) => {
    const calibration = {
      ...makeItems(1, 'calibration')[0],
      kind: 'calibration',
      expected: 'a',
      explanation: 'The **sea**.',
    };
    const queue = await createQueue([calibration, ...makeItems(10)], {
      guidelines: '# Prefer the sea\n\nAlways.',
      tags: ['more correct', 'better style'],
      calibration: { items: 1, accuracy: 0 },
    });
    const { id, link } = await invite('Ann');
    const { page, problems } = await openPage();
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    await page.goto(link);
    await press('Tab', 'Enter');
    await page.getByRole('dialog', { name: 'Guidelines' }).getByText('Prefer the sea').waitFor();
    await press('Enter');

    // The response with the sea is expected, on whichever side it is shown.
    await page.getByText('Practice.').waitFor();
    await press(await findSea(page), 'Enter');
    await page.getByText('That is what was expected').waitFor();
    await page.getByText('The sea.', { exact: true }).waitFor();
    await press('Enter');

    const nextItem = async (name: string) => page.getByText(`Prompt of ${name}`, { exact: true }).waitFor();
    const seen = new Set<string>();
    for (let at = 0; at < 10; at++) {
      const name = await readItem(page);
      assert.ok(!seen.has(name), name);
      seen.add(name);
      const sea = await findSea(page);
      if (at === 0) await press(sea, '2', 'Enter');
      else if (at === 1) await press('t', 't');
      else if (at === 2) await press('x', 'Enter');
      else if (at === 3) await press('s');
      else if (at === 4) {
        // Reasons and a comment; letters are text while one types.
        await press(sea, 'r', 'Space', 'c');
        await page.keyboard.type('abtxsz?e1');
        await page.reload();
        await nextItem(name);
        assert.equal(await page.getByLabel('Comment').inputValue(), 'abtxsz?e1');
        assert.ok(await page.getByRole('radio', { name: `${sea.toUpperCase()} is better` }).isChecked());
        assert.ok(await page.getByRole('checkbox', { name: 'more correct' }).isChecked());
        await press('Enter');
      } else if (at === 5) {
        await press(sea, '3', 'e');
        await page.getByLabel(`Your better version of ${sea.toUpperCase()}`).waitFor();
        await page.keyboard.type(' And waves.');
        await press('Control+Enter');
      } else if (at === 6) {
        await press(sea === 'a' ? 'b' : 'a', 'Enter');
        await waitForAnother(page, name);
        await press('z');
        await nextItem(name);
        await page.getByText('Your last vote is taken back').waitFor();
        await press(sea, 'Enter');
      } else await press(sea, sea);
      if (at < 9) await waitForAnother(page, name);
    }
    await page.getByRole('heading', { name: 'There is nothing for you here' }).waitFor();
    await page.getByText('team 9 of 10').waitFor();

    const votes: Json[] = (await send('/v1/preferences?limit=100')).data.filter(({ rater }: Json) => rater === id);
    const given = votes.filter(({ edit_of }) => edit_of === null);
    const edits = votes.filter(({ edit_of }) => edit_of !== null);
    const countChoices = (choice: RegExp) => given.filter((vote) => choice.test(vote.choice)).length;
    assert.deepEqual(
      [given.length, countChoices(/^[ab]$/), countChoices(/tie/), countChoices(/both_bad/)],
      [9, 7, 1, 1],
    );
    for (const vote of given.filter(({ choice }) => /^[ab]$/.test(choice))) assert.match(vote.chosen.text, /the sea/);
    assert.ok(given.every(({ seconds }) => seconds > 0 && seconds < 120));
    assert.deepEqual(
      given
        .map(({ strength }) => strength)
        .filter(Boolean)
        .sort(),
      ['clearly', 'much'],
    );
    const [commented] = given.filter(({ comment }) => comment !== null);
    assert.deepEqual([commented.comment, commented.tags], ['abtxsz?e1', ['more correct']]);
    assert.equal(edits.length, 1);
    assert.match(edits[0].chosen.text, /about the sea\. And waves\.$/);
    assert.deepEqual(problems, []);
    // The next rater has one queue again, which opens at once.
    await send(`/v1/queues/${queue}`, { status: 'closed' });
  };

  test('a rater’s hour in small, by the keyboard alone', () => testHour(rating));

  test('the same hour through workerd', async () => {
    const worker = await startWorkerServer(server.databaseUrl, { API_KEY: KEY, LOOPBACK: 'false' });
    await worker.uploadPolicy(await server.localStore.getFolder(server.policyId));
    await testHour(openRatingServer(worker.url, KEY, browser));
    await worker.close();
  });

  test('a vote that is given without a connection is kept, and sent once when it is back', async () => {
    const queue = await createQueue(makeItems(4));
    const { page, problems } = await openRater('Bea', queue);
    const name = await readItem(page);
    await page.context().setOffline(true);
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await page.getByText('Your vote is kept in this browser').waitFor();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    assert.equal((await listVotes(queue)).length, 0);
    await page.context().setOffline(false);
    await waitForAnother(page, name);
    assert.equal((await listVotes(queue)).length, 1);

    // The API has stored the vote, and its answer is lost.
    const second = await readItem(page);
    let requests = 0;
    await page.route('**/vote', async (route) => {
      if (requests++ > 0) return route.continue();
      await route.fetch();
      await route.abort('connectionreset');
    });
    await page.keyboard.press('b');
    await page.keyboard.press('Enter');
    await waitForAnother(page, second);
    assert.deepEqual([requests, (await listVotes(queue)).length], [2, 2]);

    // The page is closed before there is a connection: the next visit sends it.
    const third = await readItem(page);
    await page.unroute('**/vote');
    await page.route('**/vote', (route) => route.abort('internetdisconnected'));
    await page.keyboard.press('t');
    await page.keyboard.press('Enter');
    await page.getByText('Your vote is kept in this browser').waitFor();
    await page.unroute('**/vote');
    await page.reload();
    assert.notEqual(await readItem(page), third);
    assert.equal((await listVotes(queue)).length, 3);
    assert.deepEqual(
      problems.filter((problem) => !/ERR_(INTERNET_DISCONNECTED|CONNECTION_RESET)/.test(problem)),
      [],
    );
  });

  test('a phone has no part of the page beside or below the screen, before and after votes', async () => {
    const queue = await createQueue(makeItems(40), { tags: ['more correct', 'better style', 'safer', 'shorter'] });
    for (const [locale, width] of [360, 390, 412].flatMap((width) => [
      ['en-GB', width] as const,
      ['de-DE', width] as const,
    ])) {
      const options = { locale, viewport: { width, height: 844 }, hasTouch: true, isMobile: true };
      const { page, problems } = await openRater('Lea', queue, options);
      const where = `${locale} ${width}`;
      for (const at of [0, 1, 2]) {
        const name = await readItem(page);
        // Fast raters are paused, and what is left of their time is not known.
        await page.route('**/progress', async (route) => {
          const response = await route.fetch();
          await route.fulfill({ response, json: { ...(await response.json()), seconds_left_mine: 95 } });
        });
        await assertFits(page, width, `${where} item ${at}`);
        await page.locator('label.choice.a').tap();
        await assertFits(page, width, `${where} chosen ${at}`);
        await page.locator('.dock .primary').tap();
        if (at < 2) await waitForAnother(page, name);
      }
      await page.unrouteAll({ behavior: 'ignoreErrors' });
      assert.deepEqual(problems, []);
    }
  });

  test('the buttons of a vote stay where they are from item to item', async () => {
    const tags = ['more correct', 'better style', 'safer', 'shorter', 'follows the prompt', 'more complete'];
    const queue = await createQueue(makeItems(6), { tags });
    const { page } = await openRater('Max', queue, { viewport: { width: 1280, height: 800 } });
    const places: number[] = [];
    for (let at = 0; at < 5; at++) {
      const name = await readItem(page);
      places.push((await page.locator('label.choice.a').boundingBox())!.y);
      await page.keyboard.press('a');
      await page.keyboard.press('e');
      places.push((await page.locator('label.choice.a').boundingBox())!.y);
      await page.keyboard.press('Escape');
      await page.keyboard.press('b');
      await page.keyboard.press('Enter');
      await waitForAnother(page, name);
    }
    assert.ok(Math.max(...places) - Math.min(...places) <= 2, `y: ${places.join(', ')}`);
    const [improve, comment] = [page.getByRole('button', { name: 'Improve' }), page.getByLabel('Comment')];
    const middleOf = async (part: typeof improve) => {
      const { y, height } = (await part.boundingBox())!;
      return y + height / 2;
    };
    assert.ok(Math.abs((await middleOf(improve)) - (await middleOf(comment))) <= 2, 'Improve is on a row of its own');
  });

  test('a better version is kept while its side is not chosen, and a discarded one comes back', async () => {
    const queue = await createQueue(makeItems(2));
    const { page, problems } = await openRater('Noa', queue);
    const name = await readItem(page);
    const field = (side: string) => page.getByLabel(`Your better version of ${side}`);
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    await press('b', 'e');
    await page.keyboard.type(' My words.');
    await press('Escape', 'a');
    await field('B').waitFor({ state: 'detached' });
    await press('e');
    await page.keyboard.type(' Of the other.');
    await press('Escape', 'b');
    assert.match(await field('B').inputValue(), / My words\.$/);
    // The key gives the focus back, and loses nothing.
    await press('e');
    await page.keyboard.type(' More.');
    assert.match(await field('B').inputValue(), / My words\. More\.$/);
    await press('Escape');
    await page.reload();
    assert.match(await field('B').inputValue(), / My words\. More\.$/);
    await page.getByRole('button', { name: 'Discard my version' }).click();
    await field('B').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Bring my version back' }).click();
    assert.match(await field('B').inputValue(), / My words\. More\.$/);
    await page.keyboard.press('Control+Enter');
    await waitForAnother(page, name);
    const edits = (await listVotes(queue)).filter(({ edit_of }) => edit_of !== null);
    assert.equal(edits.length, 1);
    assert.match(edits[0]!.chosen.text, / My words\. More\.$/);
    assert.deepEqual(problems, []);
  });

  test('policies are revealed by a short name, once, and none where the responses were given', async () => {
    const queue = await createQueue(makeItems(2), { reveal: true });
    const { page } = await openRater('Ole', queue);
    const name = await readItem(page);
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    // Nothing to show: the next one follows.
    await waitForAnother(page, name);
    assert.equal(await page.getByText('The responses are of').count(), 0);
    const policy = 'pol_01a2293130f6705aa7bd6e3874da7873';
    await page.route('**/vote', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), policies: { a: policy, b: 'given' } } });
    });
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await page.getByText('The responses are of …da7873 (A).').waitFor();
    assert.equal(await page.getByText('da7873').count(), 1);
    assert.equal(await page.getByTitle(policy).count(), 1);
  });

  test('an address of no queue says so, and leads to those that there are', async () => {
    const queue = await createQueue(makeItems(1));
    const { page } = await openRater('Pia', queue);
    await page.goto(`${rating.url}/rate/que_nope`);
    await page.getByRole('heading', { name: 'There is no such queue' }).waitFor();
    await page.getByRole('link', { name: 'See what is open' }).click();
    await page.waitForURL(`${rating.url}/rate`);
  });

  test('two tabs of one rater show the same item, and one vote moves both on', async () => {
    const queue = await createQueue(makeItems(3));
    const { page, problems } = await openRater('Cleo', queue);
    const other = await page.context().newPage();
    await other.goto(page.url());
    const name = await readItem(page);
    assert.equal(await readItem(other), name);
    await other.keyboard.press('a');
    await other.keyboard.press('Enter');
    await waitForAnother(other, name);
    await waitForAnother(page, name);
    assert.equal(await readItem(page), await readItem(other));
    assert.equal((await listVotes(queue)).length, 1);
    assert.deepEqual(problems, []);
  });

  test('a reservation that lapsed and was given to somebody else is said to be, and the next item follows', async () => {
    const queue = await createQueue(makeItems(2));
    const { id, page, problems } = await openRater('Dan', queue);
    const name = await readItem(page);
    // The item after it is reserved ahead, and must lapse too.
    const { db } = server.connection;
    await waitUntil(async () => (await db.execute(sql`select 1 from reservations where rater = ${id}`)).length === 2);
    await db.execute(sql`update reservations set expires_at = now() - interval '1 minute' where rater = ${id}`);
    const { page: second } = await openRater('Eve', queue);
    assert.equal(await readItem(second), name);
    await second.keyboard.press('a');
    await second.keyboard.press('Enter');
    await waitForAnother(second, name);
    await page.keyboard.press('b');
    await page.keyboard.press('Enter');
    await page.getByText('was given to somebody else').waitFor();
    await page.getByRole('heading', { name: 'There is nothing for you here' }).waitFor();
    assert.equal((await listVotes(queue)).length, 1);
    assert.deepEqual(
      problems.filter((problem) => !problem.includes('409')),
      [],
    );
  });

  test('without a session the page says how to sign in, and a paused rater why', async () => {
    const { page } = await rating.openPage();
    await page.goto(`${rating.url}/rate`);
    await page.getByRole('heading', { name: 'Sign in to rate' }).waitFor();
    assert.equal(await page.getByRole('link', { name: 'Sign in' }).getAttribute('href'), '/sign-in');
    const queue = await createQueue(makeItems(2));
    const rater = await openRater('Finn', queue);
    const name = await readItem(rater.page);
    await send(`/v1/queues/${queue}/raters/${rater.id}/pause`, { reason: 'please read the guidelines again' });
    await rater.page.keyboard.press('s');
    await rater.page.getByRole('heading', { name: 'You are paused in this queue' }).waitFor();
    await rater.page.getByText('lease read the guidelines again').waitFor();
    assert.ok(name);
  });

  test('guidelines are shown the first time, on demand, and again when they change', async () => {
    const queue = await createQueue(makeItems(3), { guidelines: 'The first guidelines' });
    const { page } = await openRater('Gil', queue);
    const dialog = page.getByRole('dialog');
    await dialog.getByText('The first guidelines').waitFor();
    await page.keyboard.press('Enter');
    await page.reload();
    const name = await readItem(page);
    assert.equal(await dialog.count(), 0);
    await page.keyboard.press('g');
    await dialog.getByText('The first guidelines').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await send(`/v1/queues/${queue}`, { guidelines: 'The second guidelines' });
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await dialog.getByText('The guidelines have changed').waitFor();
    await dialog.getByText('The second guidelines').waitFor();
    await page.keyboard.press('Enter');
    await waitForAnother(page, name);
  });
}

/** A page that is too wide is zoomed out on a phone, so that the window does not say how large the screen is. */
async function assertFits(page: Page, width: number, where: string): Promise<void> {
  await page.waitForTimeout(150);
  const { wide, bottom } = (await page.evaluate(`({
    wide: document.documentElement.scrollWidth,
    bottom: document.querySelector('.dock').getBoundingClientRect().bottom,
  })`)) as Json;
  assert.ok(wide <= width, `${where}: ${wide} px wide`);
  assert.ok(bottom <= 844, `${where}: the vote ends at ${bottom} px`);
}

/** Which item is shown. */
async function readItem(page: Page): Promise<string> {
  const text = await page.getByText(/^Prompt of /).textContent();
  return text!.replace('Prompt of ', '');
}

async function waitForAnother(page: Page, name: string): Promise<void> {
  await page.getByText(`Prompt of ${name}`, { exact: true }).waitFor({ state: 'detached' });
  await page.locator('.skeleton').waitFor({ state: 'detached' });
}

/** The key of the side whose response is about the sea. */
async function findSea(page: Page): Promise<'a' | 'b'> {
  const first = await page.getByRole('region', { name: 'Response A' }).textContent();
  return first!.includes('the sea') ? 'a' : 'b';
}
