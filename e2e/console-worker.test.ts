// The console out of workerd: the pages come from the Worker's assets, and the Now view follows the loop by its events.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAccessible } from '../testing/accessible.ts';
import { NO_BROWSER, openBrowser } from '../testing/browser.ts';
import { click, openConsole } from '../testing/console-page.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { startWorkerServer } from '../testing/worker-server.ts';

if (NO_BROWSER) test('the console of a Worker', { skip: NO_BROWSER });
else {
  // The precision that a Worker runs itself.
  const server = await startEdgeServer({ PRECISION: 'fp32' });
  const worker = await startWorkerServer(server.databaseUrl);
  await worker.uploadPolicy(await server.localStore.getFolder(server.policyId));
  const { open } = openConsole(worker.url, null, await openBrowser());

  test('a Worker serves the console, and its Now view is live', async () => {
    const { page, problems } = await open('/console');
    await page.getByText(`${server.policyId.slice(-6)} became active`).waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await assertAccessible(page, 'the Now view of a Worker');
    assert.deepEqual(problems, []);
    await page.context().close();
  });

  test('the welcome page of a Worker leads to a first completion', async () => {
    const { page, problems } = await open('/');
    await page.getByRole('heading', { level: 1, name: /^Attune serves a small language model/ }).waitFor();
    await click(page, 'Complete');
    await page.locator('.step').first().getByText('by tiny 1').waitFor();
    assert.deepEqual(problems, []);
    await page.context().close();
  });
}
