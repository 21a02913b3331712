// Import and export of preferences as streams, beyond the body limit of other requests.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { like, sql } from 'drizzle-orm';
import { preferences } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

const JSONL = { 'content-type': 'application/jsonl' };
/** About 3 MB, three times the body limit. */
const ROWS = 3000;

export function testImportExport(api: Api): void {
  const { request, client } = api;
  const send = (body: BodyInit, headers: Record<string, string> = JSONL) =>
    request('/v1/preferences/import', { method: 'POST', body, headers, duplex: 'half' });
  const named = (text: string) => `${text} ${api.runtime}`;

  test('an import reports invalid rows, and repeating it adds nothing', async () => {
    const body = [
      JSON.stringify({ prompt: named('Say hi'), chosen: 'hi', rejected: 'no' }),
      '{"prompt": broken',
      JSON.stringify({
        input: { messages: [{ role: 'user', content: named('Q') }] },
        preferred_output: [{ role: 'assistant', content: 'A' }],
        non_preferred_output: [{ role: 'assistant', content: 'B' }],
      }),
      JSON.stringify({ prompt: 'Say hi', chosen: '', rejected: 'no' }),
    ].join('\n');
    const { object, ...first } = (await send(body)).body;
    assert.equal(object, 'preference.import');
    assert.deepEqual([first.rows, first.imported, first.refused, first.duplicates], [4, 2, 2, 0]);
    assert.deepEqual(
      first.errors.map((error: Json) => error.row),
      [2, 4],
    );
    const second = (await send(body)).body;
    assert.deepEqual([second.imported, second.duplicates], [0, 2]);
    api.record('invalid rows', first.errors.at(-1));
  });

  test('accepts a JSON array, and rejects an empty body', async () => {
    const body = JSON.stringify([{ prompt: named('In an array'), chosen: 'hi', rejected: 'no' }], null, 2);
    assert.equal((await send(body)).body.imported, 1);
    const none = await request('/v1/preferences/import', { method: 'POST', headers: JSONL });
    assertError(none, 400);
    assert.equal(none.body.error.code, 'empty_body');
  });

  test('imports several megabytes as a stream, and exports them in every format', async () => {
    const filler = 'word '.repeat(180);
    const row = (at: number) =>
      JSON.stringify({ prompt: named(`Row ${at}, ü`), chosen: filler + at, rejected: `no ${at}`, rater: 'file' });
    let at = 0;
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        // Chunk boundaries are inside rows too.
        const lines = Array.from({ length: 50 }, () => `${row(at++)}\n`).join('');
        const bytes = new TextEncoder().encode(lines);
        sent += bytes.length;
        const cut = bytes.length - 7;
        controller.enqueue(bytes.subarray(0, cut));
        controller.enqueue(bytes.subarray(cut));
        if (at >= ROWS) controller.close();
      },
    });
    const report: Json = await client.post('/preferences/import', { body, headers: JSONL });
    assert.deepEqual([report.rows, report.imported, report.refused], [ROWS, ROWS, 0]);
    assert.ok(sent > 2_500_000);

    for (const format of ['openai', 'trl']) {
      const response = await api.fetch(`/v1/preferences/export?format=${format}`);
      assert.match(response.headers.get('content-type') ?? '', /^application\/jsonl/);
      const lines = (await response.text()).trimEnd().split('\n');
      const prompts = lines
        .map((line) => JSON.parse(line))
        .map((item) => item.prompt ?? item.input.messages.at(-1).content);
      const expected = new Set(Array.from({ length: ROWS }, (_, index) => named(`Row ${index}, ü`)));
      assert.equal(new Set(prompts.filter((prompt) => expected.has(prompt))).size, ROWS);
      const { total, by_choice } = (await request('/v1/preferences/stats')).body;
      assert.equal(lines.length, (by_choice.a ?? 0) + (by_choice.b ?? 0));
      assert.ok(total > lines.length);
    }
    const unknown = await request('/v1/preferences/export?format=csv');
    assertError(unknown, 400);
    assert.equal(unknown.body.error.param, 'format');
  });

  test('an import that was cut off can be sent again, and adds each row once', async () => {
    const row = (at: number) => JSON.stringify({ prompt: named(`Cut ${at}`), chosen: 'hi', rejected: 'no' });
    const rows = Array.from({ length: 1200 }, (_, at) => row(at));
    // Node may still count the one that was cut off, and admits one import of each key.
    const [first, second] = KEYS.map((key) => ({ ...JSONL, authorization: `Bearer ${key}` }));
    const abort = new AbortController();
    const body = new ReadableStream<Uint8Array>({
      // More than a batch, less than all of it, and then silence.
      start: (controller) => controller.enqueue(new TextEncoder().encode(`${rows.slice(0, 700).join('\n')}\n`)),
    });
    const sent = api
      .fetch('/v1/preferences/import', { method: 'POST', body, headers: first, duplex: 'half', signal: abort.signal })
      .catch(() => null);
    const { db } = api.server.connection;
    const countRows = () => db.$count(preferences, like(sql`${preferences.prompt}::text`, `"Cut %${api.runtime}"`));
    await waitUntil(async () => (await countRows()) > 0, 30_000);
    abort.abort();
    await sent;
    const { body: report } = await send(rows.join('\n'), second);
    assert.equal(report.imported + report.duplicates, rows.length);
    assert.ok(report.duplicates > 0 && report.imported > 0, JSON.stringify(report));
    assert.equal(await countRows(), rows.length);
    const { body: again } = await send(rows.join('\n'), second);
    assert.deepEqual([again.imported, again.duplicates], [0, rows.length]);
  });

  test('an export can be imported', async () => {
    const { text } = await request('/v1/preferences/export?format=openai');
    const lines = text.trimEnd().split('\n').slice(-20);
    const { body } = await send(lines.join('\n'));
    assert.equal(body.refused, 0);
    assert.equal(body.rows, 20);
  });

  test('a client can disconnect during an export', async () => {
    const response = await api.fetch('/v1/preferences/export');
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    assert.equal((await request('/v1/preferences/stats')).status, 200);
  });
}
