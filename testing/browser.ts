// Debian's Chromium for tests, driven by playwright-core, which brings no browser of its own.

import { existsSync } from 'node:fs';
import { after } from 'node:test';
import { type Browser, chromium } from 'playwright-core';

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** Why tests with a browser are skipped; false if they are not. */
export const NO_BROWSER = PROGRAM === undefined && 'there is no Chromium; run `apt-get install chromium`';

/** Closed after the test. */
export async function openBrowser(): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: PROGRAM!,
    args: ['--no-sandbox', '--host-resolver-rules=MAP *.example 127.0.0.1'],
  });
  after(() => browser.close());
  return browser;
}
