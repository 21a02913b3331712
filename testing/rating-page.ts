// Raters in real browsers, for tests of the rating page: queues of given responses, invitations, and what a page must never
// do, such as asking another site for anything or logging a problem.

import assert from 'node:assert/strict';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import type { Json } from './edge-server.ts';

type Send = (path: string, json?: unknown, init?: { type?: string; body?: string }) => Promise<Json>;

export type RatingServer = {
  url: string;
  /** As an administrator: a POST if there is a body, else a GET. */
  send: Send;
  /** A queue with these items, one a line; no gold, and nothing repeated. */
  createQueue(items: Json[], settings?: Json): Promise<string>;
  invite(name: string): Promise<{ id: string; link: string }>;
  /** Signs in by the link of an invitation, and opens the queue. */
  openRater(name: string, queue: string, options?: BrowserContextOptions): Promise<RaterPage>;
  openPage(options?: BrowserContextOptions): Promise<Omit<RaterPage, 'id'>>;
};

/** `problems`: what the console of the page said is wrong. */
export type RaterPage = { id: string; page: Page; problems: string[] };

export function openRatingServer(url: string, key: string, browser: Browser): RatingServer {
  const send: Send = async (path, json, { type = 'application/json', body } = {}) => {
    const text = body ?? (json === undefined ? undefined : JSON.stringify(json));
    const response = await fetch(url + path, {
      method: text === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': type },
      body: text ?? null,
    });
    const answer = (await response.json()) as Json;
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const invite: RatingServer['invite'] = async (name) => {
    const { id } = await send('/v1/raters', { name });
    const { url: link } = await send(`/v1/raters/${id}/invitations`, {});
    return { id, link };
  };
  const openPage: RatingServer['openPage'] = async (options = {}) => {
    const context = await browser.newContext({ locale: 'en-GB', ...options });
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    const problems: string[] = [];
    page.on('console', (message) => {
      const { url } = message.location();
      if (message.type() === 'error' && !url.endsWith('/favicon.ico')) problems.push(`${message.text()} ${url}`);
    });
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) problems.push(`asked ${request.url()}`);
    });
    page.on('dialog', (dialog) => {
      problems.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    return { page, problems };
  };
  return {
    url,
    send,
    invite,
    openPage,
    async createQueue(items, settings = {}) {
      const name = `Queue ${Math.random()}`;
      const { id } = await send('/v1/queues', { name, gold_share: 0, repeat_share: 0, order: 'imported', ...settings });
      const body = items.map((item) => JSON.stringify(item)).join('\n');
      await send(`/v1/queues/${id}/items`, undefined, { type: 'application/jsonl', body });
      return id;
    },
    async openRater(name, queue, options) {
      const { id, link } = await invite(name);
      const opened = await openPage(options);
      await opened.page.goto(link);
      await opened.page
        .getByRole('button', { name: /^(Sign in|Anmelden)/ })
        .first()
        .click();
      await opened.page.waitForURL(`${url}/rate`);
      await opened.page.goto(`${url}/rate/${queue}`);
      return { id, ...opened };
    },
  };
}

/** Items with two given responses each, which say which item and side they are. */
export function makeItems(count: number, name = 'item'): Json[] {
  return Array.from({ length: count }, (_, at) => ({
    prompt: `Prompt of ${name} ${at}`,
    a: `First response of ${name} ${at}, about the sea.`,
    b: `Second response to ${name} ${at}: mountains, and snow on them.`,
  }));
}
