// Import and export of preferences as streams, beyond the body limit of other requests.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { like, sql } from 'drizzle-orm';
import { parquetReadObjects } from 'hyparquet';
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

  test('comparisons are exported with their votes as JSON lines and as Parquet, and have a datasheet', async () => {
    const tenant = `handoff.${api.runtime}`;
    const scopes = ['generate', 'feedback', 'read'];
    const { body: key } = await request('/v1/keys', { json: { name: 'handoff', scopes, tenant } });
    const headers = { authorization: `Bearer ${key.key}` };
    const compared = await request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 3, seed: 1 }, headers });
    for (const [rater, choice] of Object.entries({ ann: 'a', ben: 'a', cleo: 'b' }))
      await request('/v1/preferences', { json: { comparison: compared.body.id, choice, rater }, headers });
    const exported = await request('/v1/comparisons/export', { headers });
    assert.match(exported.headers.get('content-type') ?? '', /^application\/jsonl/);
    const [record, ...others] = exported.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual([record.id, record.a.text, others], [compared.body.id, compared.body.a.text, []]);
    assert.deepEqual(
      record.votes.map((vote: Json) => [vote.rater, vote.choice]),
      [
        ['user:ann', 'a'],
        ['user:ben', 'a'],
        ['user:cleo', 'b'],
      ],
    );
    assert.equal(record.a.token_ids.length, record.a.logps.length);
    const file = await api.fetch('/v1/comparisons/export?format=parquet', { headers });
    assert.equal(file.headers.get('content-type'), 'application/vnd.apache.parquet');
    const [row] = (await parquetReadObjects({ file: await file.arrayBuffer() })) as Json[];
    assert.deepEqual([row.a.token_ids, row.b.text, row.votes.length], [record.a.token_ids, record.b.text, 3]);

    const { body: sheet } = await request('/v1/comparisons/datasheet?licence=CC0-1.0', { headers });
    assert.deepEqual([sheet.comparisons.total, sheet.votes.by_choice, sheet.licence], [1, { a: 2, b: 1 }, 'CC0-1.0']);
    const page = await request('/v1/comparisons/datasheet?format=markdown', { headers });
    assert.match(page.headers.get('content-type') ?? '', /^text\/markdown/);
    assert.match(page.text, /^# Datasheet/);
    const nothing = await request('/v1/comparisons/export?until=2020-01-01', { headers });
    assert.deepEqual([nothing.status, nothing.text], [200, '']);
    const wrong = await request('/v1/comparisons/export?since=yesterday', { headers });
    assertError(wrong, 400);
    assert.equal(wrong.body.error.param, 'since');
    assertError(await request('/v1/comparisons/export?queue=none', { headers }), 404);

    const majority = await request('/v1/preferences/export?format=attune&aggregate=majority&min_reviews=3', {
      headers,
    });
    assert.deepEqual(JSON.parse(majority.headers.get('x-attune-aggregation')!), {
      pairs: 1,
      ties: 0,
      no_majority: 0,
      too_few_reviews: 0,
    });
    const pair = JSON.parse(majority.text);
    assert.deepEqual([pair.id, pair.chosen, pair.votes.chosen], [record.id, record.a.text, 2]);
    const alone = await request('/v1/preferences/export?min_reviews=3', { headers });
    assertError(alone, 400);
    assert.equal(alone.body.error.param, 'min_reviews');
  });

  test('a client can disconnect during an export', async () => {
    const response = await api.fetch('/v1/preferences/export');
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    assert.equal((await request('/v1/preferences/stats')).status, 200);
  });
}
