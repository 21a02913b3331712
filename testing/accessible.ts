// What every page is held to: axe-core finds nothing, and nothing is wider than the window. axe-core runs outside of the page's
// policy, as the tool of a browser would.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';
import type { Json } from './edge-server.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function assertAccessible(page: Page, where: string): Promise<void> {
  // Colours are those at the end of a transition.
  await page.waitForTimeout(200);
  assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false, `${where}: too wide`);
  await page.evaluate(AXE);
  const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as Json;
  const found = violations.map(
    ({ id, nodes }: Json) => `${where}: ${id}: ${nodes.map(({ html }: Json) => html).join(' ')}`,
  );
  assert.deepEqual(found, []);
}
