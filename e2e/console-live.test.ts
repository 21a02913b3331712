// Pages of the console that are open while something happens elsewhere: they change by themselves, by server-sent events.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rollBackCanary } from '../shared/canary/canaries.ts';
import { round_events } from '../shared/database/schema.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { button, click, openConsole } from '../testing/console-page.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startTrainer } from '../trainer/main.ts';

/** Enough for E₊ ≥ 20 if all are for the candidate, and one more than that. */
const MAX_VOTES = 12;

if (NO_BROWSER) test('the console while it is open', { skip: NO_BROWSER });
else {
  const server = await startEdgeServer(
    {
      CANARY_SHARE: '0.5',
      PRECISION: 'fp32',
      TRAIN_SCHEDULE: '0 0 1 1 *',
      TRAIN_THREADS: '1',
      TRAIN_MEMORY: String(2 ** 30),
    },
    { isActive: false },
  );
  const { db } = server.connection;
  /** Which of the two wrote a response can be read. */
  const importSaying = (seed: number, word: string) =>
    server.importTiny(seed, { family: 'gpt_neox', tied: false, says: [word] });
  const baseline = await importSaying(2, ' and');
  const candidate = await importSaying(3, ' was');
  for (const id of [server.policyId, baseline]) await activatePolicy(db, id, 'test');
  const { open, openPage } = openConsole(server.edge.url, null, await openBrowser());

  test('votes decide a canary, and a page that is open shows it without a reload', async () => {
    const now = await open('/console');
    await now.page.getByText('Live', { exact: true }).waitFor();
    await now.page.getByText('None is running.').waitFor();
    // What a reload would lose.
    await now.page.evaluate('window.isSame = true');

    const { id } = await server.post(`/v1/policies/${candidate}/canary`, { share: 0.5 });
    const panel = now.page.getByRole('region', { name: 'Canary', exact: true });
    await panel.getByText('Running').waitFor();
    const canaryPage = await open(`/console/canaries/${id}`);
    await canaryPage.page.locator('h1 .badge', { hasText: 'Running' }).waitFor();
    const rate = canaryPage.page.getByRole('region', { name: 'Evidence' }).getByRole('link', { name: 'Rate' });
    assert.equal(await rate.getAttribute('href'), '/rate/arena', 'where no queue is needed');
    await waitUntil(async () => (await server.request('/health')).body.candidate === candidate);

    await vote(id, async (votes) => {
      if (votes === 3) await panel.getByText('3 votes for it').waitFor();
    });
    await waitUntil(async () => (await getState(id)) === 'watching');

    await panel.getByText('None is running.').waitFor();
    await panel.getByText('Last:').getByText('Promoted, watched').waitFor();
    const active = now.page.getByRole('region', { name: 'Active policy', exact: true });
    await active.getByText(`${candidate.slice(-6)} became active`).waitFor();
    await active.getByText('Watched').waitFor();
    await canaryPage.page.locator('h1 .badge', { hasText: 'Promoted, watched' }).waitFor();
    await canaryPage.page.getByText('promoted: it is the active policy').waitFor();
    await canaryPage.page.getByText('For the watched policy').waitFor();
    await canaryPage.page.getByText('For the baseline').waitFor();
    assert.equal(await now.page.evaluate('window.isSame'), true);
    assert.deepEqual([...now.problems, ...canaryPage.problems], []);
  });

  test('a canary that was rolled back stays in sight, and is not taken for the policy that is watched', async () => {
    const now = await open('/console');
    const panel = now.page.getByRole('region', { name: 'Canary', exact: true });
    const watched = `Watched policy tiny 3 ${candidate.slice(-6)}, baseline tiny 2 ${baseline.slice(-6)}`;
    for (const name of ['Evidence', 'Guards'])
      await now.page.getByRole('region', { name }).getByText(watched, { exact: true }).waitFor();
    await now.page
      .getByText(/^watched policy .*, baseline /)
      .first()
      .waitFor();

    const { id } = await server.post(`/v1/policies/${baseline}/canary`, { share: 0.5 });
    await panel.getByText('Running').waitFor();
    const tried = `Candidate tiny 2 ${baseline.slice(-6)}, baseline tiny 3 ${candidate.slice(-6)} (active)`;
    await now.page.getByRole('region', { name: 'Evidence' }).getByText(tried, { exact: true }).waitFor();
    await waitUntil(async () => (await server.request('/health')).body.candidate === baseline);
    await vote(id);
    await waitUntil(async () => (await getState(id)) === 'rolled_back');

    const last = panel.getByText('Last:');
    await last.getByText('Rolled back').waitFor();
    await last.getByText(/0 of \d+ blind votes are for it/).waitFor();
    assert.equal(
      await last.getByRole('link', { name: 'All about it' }).getAttribute('href'),
      `/console/canaries/${id}`,
    );
    await now.page.getByRole('region', { name: 'Evidence' }).getByText(watched, { exact: true }).waitFor();
    const list = await open('/console/canaries');
    await list.page
      .getByRole('row', { name: id.slice(-6) })
      .getByText(/0 of \d+ blind votes are for it/)
      .waitFor();
    assert.deepEqual([...now.problems, ...list.problems], []);
  });

  test('a rollback that was asked about before the guards made it is refused, and goes no further', async () => {
    const { page, problems } = await open('/console');
    const active = page.getByRole('region', { name: 'Active policy', exact: true });
    await active.getByText(`${candidate.slice(-6)} became active`).waitFor();
    await click(page, 'Roll back');
    const dialog = page.getByRole('dialog');
    await button(dialog, 'Roll back').waitFor();

    const { watch } = (await server.request('/v1/loop')).body;
    const byGuard = { actor: 'canary', reason: 'errors' };
    await db.transaction((transaction) => rollBackCanary(transaction, watch.id, 'watching', byGuard));
    await active.getByText(`${baseline.slice(-6)} became active`).waitFor();
    await click(dialog, 'Roll back');
    await dialog.getByText(`${baseline} is active, not ${candidate}; nothing was changed`).waitFor();
    assert.equal(await getActivePolicyId(db), baseline);
    assert.ok(
      problems.every((text) => text.includes('409')),
      problems.join(),
    );
  });

  test('a candidate that was to be promoted before its canary ended is not', async () => {
    const { id } = await server.post(`/v1/policies/${candidate}/canary`, { share: 0.5 });
    const { page } = await open('/console');
    await click(page, 'Promote now');
    const dialog = page.getByRole('dialog');
    await button(dialog, 'Promote it').waitFor();
    const byGuard = { actor: 'canary', reason: 'errors' };
    await db.transaction((transaction) => rollBackCanary(transaction, id, 'running', byGuard));
    await click(dialog, 'Promote it');
    await dialog.getByText(`${id} is not a running canary of ${candidate}: ${baseline} is active`).waitFor();
    assert.equal(await getActivePolicyId(db), baseline);
  });

  test('a policy that was promoted without votes is asked for none', async () => {
    const { page, problems } = await open('/console');
    await server.post(`/v1/policies/${server.policyId}/promote`, {});
    const evidence = page.getByRole('region', { name: 'Evidence' });
    await evidence.getByText('It became active without blind votes').waitFor();
    assert.equal(await evidence.getByRole('link', { name: 'Rate' }).count(), 0);
    assert.deepEqual(problems, []);
  });

  test('a rollback is offered where another policy can have been active before', async () => {
    const { page } = await open('/console');
    await button(page, 'Roll back').waitFor();
    await page.route('**/v1/policies?limit=2', async (route) => {
      const body = await (await route.fetch()).json();
      await route.fulfill({ json: { ...body, data: body.data.slice(0, 1) } });
    });
    const [answer] = await Promise.all([page.waitForResponse('**/v1/policies?limit=2'), page.reload()]);
    await answer.finished();
    await page.getByText(`${server.policyId.slice(-6)} became active`).waitFor();
    await waitUntil(async () => (await button(page, 'Roll back').count()) === 0);
  });

  test('how long ago something was is said anew while the page is open', async () => {
    const { page } = await openPage();
    await page.clock.install();
    await page.goto(`${server.edge.url}/console/canaries`);
    const row = page.getByRole('row', { name: /Rolled back/ }).first();
    await row.waitFor();
    await page.clock.fastForward('10:00');
    await row.getByText(/^1\dm ago$/).waitFor();
  });

  test('a round that somebody else starts is followed to its end', async () => {
    const now = await open('/console');
    await now.page.getByText('Live', { exact: true }).waitFor();
    await now.page.evaluate('window.isSame = true');
    const { id } = await server.post('/v1/rounds', {});
    const panel = now.page.getByRole('region', { name: 'Round', exact: true });
    await panel.getByText(id.slice(-6)).waitFor();
    const round = await open(`/console/rounds/${id}`);
    await round.page.locator('h1 .badge', { hasText: 'Waiting' }).waitFor();
    await panel.getByRole('link').waitFor();

    const trainer = await startTrainer(server.settings, server.databaseUrl, () => {});
    try {
      // Too few pairs, all for one word: however it ends, the pages say so by themselves.
      await waitUntil(async () => (await server.request(`/v1/rounds/${id}`)).body.finished_at !== null, 180_000);
      await now.page.getByRole('region', { name: 'Next round', exact: true }).waitFor();
      await round.page.getByRole('region', { name: 'Events' }).waitFor();
      await round.page.locator('h1 .badge', { hasText: 'Waiting' }).waitFor({ state: 'detached' });
    } finally {
      await trainer.close();
    }
    assert.equal(await now.page.evaluate('window.isSame'), true);
    assert.deepEqual([...now.problems, ...round.problems], []);
  });

  test('an error on the stream of a round’s events is no event, and the page goes on with those after it', async () => {
    const { id } = await server.post('/v1/rounds', {});
    const insert = { round_id: id, level: 'info', type: 'message', message: 'something was said' } as const;
    const [said] = await db.insert(round_events).values(insert).returning();
    const event = { ...insert, data: null, created_at: Math.floor(said!.created_at.getTime() / 1000) };
    const error = { error: { message: 'Postgres cannot be reached', type: 'server_error', param: null, code: null } };
    const { page, problems } = await open('/console/rounds');
    await page.clock.install();
    let streams = 0;
    // What the server sends once Postgres was away for too long, and what it answers while it still is.
    await page.route(`**/v1/rounds/${id}/events`, (route) => {
      streams += 1;
      if (streams > 2) return route.continue();
      if (streams === 2) return route.fulfill({ status: 503, json: error });
      const body = `retry: 10\nid: ${said!.id}\ndata: ${JSON.stringify(event)}\n\ndata: ${JSON.stringify(error)}\n\n`;
      return route.fulfill({ contentType: 'text/event-stream', body });
    });
    await page.getByRole('link', { name: id.slice(-6) }).click();
    const log = page.getByRole('region', { name: 'Events' });
    await log.getByText('something was said').waitFor();
    // A page that was refused asks again after a while.
    await waitUntil(async () => {
      await page.clock.fastForward(5000);
      return streams > 2;
    });
    await server.post(`/v1/rounds/${id}/cancel`, {});
    await log.getByText('cancelled').waitFor();
    await page.locator('h1 .badge', { hasText: 'Cancelled' }).waitFor();
    assert.equal(await log.getByRole('listitem').count(), 2);
    assert.ok(
      problems.every((problem) => problem.includes('503')),
      problems.join(),
    );
  });

  /** For the side that says "was", until the canary is decided. */
  async function vote(id: string, onVote = async (_votes: number) => {}): Promise<void> {
    for (let at = 0; at < MAX_VOTES && (await getState(id)) === 'running'; at++) {
      const { id: comparison, a } = await server.post('/v1/comparisons', { prompt: `Story ${at}:`, max_tokens: 8 });
      const choice = a.text.includes('was') ? 'a' : 'b';
      await server.post('/v1/preferences', { comparison, choice, rater: `rater ${at % 3}` });
      await onVote(at + 1);
    }
  }

  async function getState(id: string): Promise<string> {
    return (await server.request(`/v1/canaries/${id}`)).body.state;
  }
}
