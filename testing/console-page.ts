// The console in real browsers, for its tests: signed in with a key, on all screens, by the mouse and by the keyboard.

import assert from 'node:assert/strict';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { assertAccessible } from './accessible.ts';
import { openRatingServer, type RatingServer } from './rating-page.ts';

/** Both themes, wide and on a phone. */
const SCREENS = (['light', 'dark'] as const).flatMap((colorScheme) => [
  { colorScheme, viewport: { width: 1280, height: 800 } },
  { colorScheme, viewport: { width: 390, height: 844 } },
]);

type Opened = Awaited<ReturnType<RatingServer['openPage']>>;

export type ConsoleServer = Pick<RatingServer, 'send' | 'openPage'> & {
  /** Opens an address such as /console/keys, signed in with this key, or the administrator's; null: without one. */
  open(address: string, options?: BrowserContextOptions, key?: string | null): Promise<Opened>;
  /** Each address shows the text, and axe-core finds nothing there, on every screen. */
  assertOnEveryScreen(views: [address: string, text: string | RegExp][]): Promise<void>;
};

/** `key`: null: the server needs none. */
export function openConsole(url: string, key: string | null, browser: Browser): ConsoleServer {
  const { send, openPage } = openRatingServer(url, key ?? 'none', browser);
  const open: ConsoleServer['open'] = async (address, options, session = key) => {
    const opened = await openPage(options);
    if (session !== null) await opened.page.context().request.post(`${url}/v1/session`, { data: { key: session } });
    await opened.page.goto(url + address);
    return opened;
  };
  return {
    send,
    openPage,
    open,
    async assertOnEveryScreen(views) {
      for (const screen of SCREENS) {
        const { page, problems } = await open(views[0]![0], screen);
        for (const [address, text] of views) {
          await page.goto(url + address);
          await page.getByText(text).first().waitFor();
          await assertAccessible(page, `${address} ${screen.colorScheme} ${screen.viewport.width}`);
        }
        assert.deepEqual(problems, []);
        await page.context().close();
      }
    },
  };
}

export const button = (page: Page | Locator, name: string | RegExp) => page.getByRole('button', { name, exact: true });

export const click = (page: Page | Locator, name: string | RegExp) => button(page, name).click();

export async function press(page: Page, ...keys: string[]): Promise<void> {
  for (const key of keys) await page.keyboard.press(key);
}

/** Until the dialog is gone. */
export const closed = (page: Page) => page.getByRole('dialog').waitFor({ state: 'detached' });

/** The name and the content of what a click downloads. */
export async function download(page: Page, target: Locator): Promise<{ name: string; path: string }> {
  const [file] = await Promise.all([page.waitForEvent('download'), target.click()]);
  return { name: file.suggestedFilename(), path: await file.path() };
}
