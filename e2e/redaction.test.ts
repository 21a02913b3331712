// REDACT on Node and in a Worker: what a request and its response contain is in no table and no log; the caller still gets
// its own text.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eq, getTableName, is, sql } from 'drizzle-orm';
import { PgTable } from 'drizzle-orm/pg-core';
import * as schema from '../shared/database/schema.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { Tokenizer } from '../shared/tokenizer/tokenizer.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { startWorkerServer } from '../testing/worker-server.ts';
import { addSamples } from '../trainer/data/pairs.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const EMAIL = 'zed.canary@example.com';
const CARD = '4111 1111 1111 1111';
const PHONE = '+1 212 456 7890';
const CANARY = `Write to ${EMAIL}, ${PHONE}, ${CARD}`;
const PLACEHOLDERS = 'Write to [EMAIL], [PHONE], [CARD]';
/** What a canary leaves in a table or a log, also as tokens and bytes. */
const TRACES = ['zed.canary', '4111 1111', '212 456', 'Zanzibar'];

const { home, connection, localStore, importTiny, start } = await openEdgeProcesses();
const { db } = connection;
// Workers run fp32 only.
const policyId = await importTiny({ seed: 1, contextLength: 512, precision: 'fp32' });
await activatePolicy(db, policyId, 'test');
const tokenizer = await Tokenizer.open(await localStore.getFolder(policyId));

type Server = { url: string; output(): string };

async function post(server: Server, route: string, json: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + route, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof json === 'string' ? json : JSON.stringify(json),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json');
  return { status: response.status, text, body: (isJson ? JSON.parse(text) : null) as Json, headers: response.headers };
}
const get = async (server: Server, route: string): Promise<Json> => (await fetch(server.url + route)).json();

/** The tables that have a row with a trace of a canary. */
async function findTraces(): Promise<string[]> {
  const tables = await connection.sql<{ name: string }[]>`
    select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`;
  assert.ok(tables.length >= Object.values(schema).filter((value) => is(value, PgTable)).length);
  const found: string[] = [];
  for (const { name } of tables)
    for (const trace of TRACES) {
      const rows = await connection.sql`
        select 1 from ${connection.sql(name)} t where t::text like ${`%${trace}%`} limit 1`;
      if (rows.length > 0) found.push(`${name}: ${trace}`);
    }
  return found;
}

async function assertNoTrace({ output }: Server): Promise<void> {
  assert.deepEqual(await findTraces(), []);
  for (const trace of TRACES) assert.ok(!output().includes(trace), trace);
}

const messages = [{ role: 'user', content: CANARY }];
const metadata = { note: `from ${EMAIL}`, topic: 'fox' };
/** Makes any policy say it. */
const saying = (text: string) => ({
  response_format: { type: 'json_schema', json_schema: { name: 'said', schema: { const: text } } },
  max_tokens: 100,
});
const chat = { messages, metadata, stop: [`never ${EMAIL}`], logprobs: true, ...saying(CANARY) };
const stream = { stream: true, stream_options: { include_usage: true } };

function testRedaction(server: Server): void {
  test('a chat completion is the caller’s own, and redacted where it is stored', async () => {
    const { status, body } = await post(server, '/v1/chat/completions', { ...chat, n: 2 });
    assert.equal(status, 200);
    assert.equal(JSON.parse(body.choices[0].message.content), CANARY);
    assert.deepEqual([body.metadata, body.redacted], [metadata, undefined]);
    const stored = await get(server, `/v1/chat/completions/${body.id}`);
    assert.deepEqual(
      stored.choices.map(({ message }: Json) => JSON.parse(message.content)),
      [PLACEHOLDERS, PLACEHOLDERS],
    );
    assert.deepEqual([stored.redacted, stored.usage], [true, undefined]);
    assert.deepEqual(stored.metadata, { note: 'from [EMAIL]', topic: 'fox' });
    const rows = await db.select().from(schema.generations).where(eq(schema.generations.completion_id, body.id));
    for (const { token_ids, logps, stop_token } of rows)
      assert.deepEqual([token_ids, logps, stop_token], [[], [], null]);
    const [row] = await db.select().from(schema.completions).where(eq(schema.completions.id, body.id));
    assert.deepEqual(row!.prompt, [{ role: 'user', content: PLACEHOLDERS }]);
    assert.deepEqual([row!.prompt_token_ids, row!.sampling.stop], [[], ['never [EMAIL]']]);
    await assertNoTrace(server);
  });

  test('so is a stream, and a completion of text or of token ids', async () => {
    const streamed = await post(server, '/v1/chat/completions', { ...chat, ...stream });
    assert.match(streamed.text, /\[DONE\]/);
    const texts = await post(server, '/v1/completions', { prompt: [CANARY, 'Once'], logprobs: 1, ...saying(CANARY) });
    assert.equal(JSON.parse(texts.body.choices[1].text), CANARY);
    const tokens = await post(server, '/v1/completions', { prompt: tokenizer.encode(CANARY), max_tokens: 2 });
    const [row] = await db.select().from(schema.completions).where(eq(schema.completions.id, tokens.body.id));
    assert.match(String(row!.prompt), /Write to \[EMAIL\]/);
    assert.deepEqual(row!.prompt_token_ids, []);
    await assertNoTrace(server);
  });

  test('what has nothing to redact is stored as ever, with its tokens', async () => {
    const { body } = await post(server, '/v1/chat/completions', {
      messages: [{ role: 'user', content: 'In 1984 there was a fox.' }],
      max_tokens: 4,
      seed: 1,
    });
    const stored = await get(server, `/v1/chat/completions/${body.id}`);
    assert.deepEqual([stored.choices, stored.usage, stored.redacted], [body.choices, body.usage, undefined]);
    const [row] = await db.select().from(schema.generations).where(eq(schema.generations.id, body.id));
    assert.equal(row!.token_ids.length, body.usage.completion_tokens);
  });

  test('a repeated request gets the redacted response, as a stream too', async () => {
    const headers = { 'idempotency-key': `${server.url} chat` };
    const first = await post(server, '/v1/chat/completions', chat, headers);
    const again = await post(server, '/v1/chat/completions', chat, headers);
    assert.deepEqual([again.headers.get('idempotent-replayed'), again.body.id], ['true', first.body.id]);
    const { message, logprobs } = again.body.choices[0];
    assert.deepEqual([JSON.parse(message.content), logprobs], [PLACEHOLDERS, { content: [], refusal: null }]);
    assert.deepEqual([again.body.redacted, again.body.usage], [true, first.body.usage]);
    const keyed = { 'idempotency-key': `${server.url} stream` };
    await post(server, '/v1/chat/completions', { ...chat, ...stream }, keyed);
    const repeated = await post(server, '/v1/chat/completions', { ...chat, ...stream }, keyed);
    assert.match(repeated.text, /Write to \[EMAIL\]/);
    await assertNoTrace(server);
  });

  test('both sides of a comparison are shown, and voted on as they are stored', async () => {
    const headers = { 'idempotency-key': `${server.url} comparison` };
    const json = { prompt: CANARY, metadata, ...saying(CANARY) };
    const { body } = await post(server, '/v1/comparisons', json, headers);
    assert.deepEqual([body.prompt, JSON.parse(body.a.text), body.redacted], [CANARY, CANARY, undefined]);
    const stored = await get(server, `/v1/comparisons/${body.id}`);
    assert.deepEqual([stored.prompt, JSON.parse(stored.b.text), stored.redacted], [PLACEHOLDERS, PLACEHOLDERS, true]);
    assert.deepEqual((await post(server, '/v1/comparisons', json, headers)).body, stored);
    const streamed = await post(server, '/v1/comparisons', { ...json, stream: true });
    const shown = JSON.parse(streamed.text.split('\n\n').at(-3)!.slice('data: '.length));
    assert.deepEqual([shown.prompt, JSON.parse(shown.a.text)], [CANARY, CANARY]);
    assert.equal((await get(server, `/v1/comparisons/${shown.id}`)).prompt, PLACEHOLDERS);
    const vote = await post(server, '/v1/preferences', { comparison: body.id, choice: 'a', metadata });
    assert.deepEqual([vote.body.prompt, vote.body.redacted], [PLACEHOLDERS, true]);
    await assertNoTrace(server);
  });

  test('two generations of one redacted prompt can be voted on, and training reads them as texts', async () => {
    const [first, second, other] = await Promise.all(
      [CANARY, CANARY, `${CANARY}!`].map((content) =>
        post(server, '/v1/chat/completions', { messages: [{ role: 'user', content }], max_tokens: 5 }),
      ),
    );
    const vote = { chosen: first!.body.id, rejected: second!.body.id };
    const { status, body } = await post(server, '/v1/preferences', vote);
    assert.deepEqual([status, body.redacted], [200, true]);
    const rows = await db.select().from(schema.preferences).where(eq(schema.preferences.id, body.id));
    const [pair] = await addSamples(db, rows);
    assert.deepEqual([pair!.sampled, pair!.prompt], [null, [{ role: 'user', content: PLACEHOLDERS }]]);
    const mixed = await post(server, '/v1/preferences', { ...vote, rejected: other!.body.id });
    assert.deepEqual([mixed.status, mixed.body.error.code], [400, 'different_prompts']);
  });

  test('comments, edits and feedback are stored redacted', async () => {
    const { body } = await post(server, '/v1/comparisons', { prompt: `Once ${server.url}`, max_tokens: 3 });
    const said = { comment: CANARY, tags: [EMAIL] };
    const redacted = { comment: PLACEHOLDERS, tags: ['[EMAIL]'] };
    const vote = await post(server, '/v1/preferences', { comparison: body.id, choice: 'a', ...said, edit: CANARY });
    assert.deepEqual({ comment: vote.body.comment, tags: vote.body.tags }, redacted);
    const edit = await get(server, `/v1/preferences/${vote.body.demonstration}`);
    assert.deepEqual([edit.chosen.text, edit.redacted], [PLACEHOLDERS, true]);
    const changed = await post(server, `/v1/preferences/${vote.body.id}`, { edit: `${CANARY}!`, comment: CANARY });
    assert.deepEqual([changed.status, changed.body.comment], [200, PLACEHOLDERS]);
    const chat = await post(server, '/v1/chat/completions', {
      messages: [{ role: 'user', content: 'Once' }],
      max_tokens: 3,
    });
    const headers = { 'idempotency-key': `${server.url} feedback` };
    const json = { generation: chat.body.id, ...said, demonstration: CANARY };
    const feedback = await post(server, '/v1/feedback', json, headers);
    const { comment, tags, demonstration } = feedback.body;
    assert.deepEqual({ comment, tags, demonstration }, { ...redacted, demonstration: PLACEHOLDERS });
    assert.equal((await post(server, '/v1/feedback', json)).body.preference, feedback.body.preference);
    await assertNoTrace(server);
  });

  test('given pairs and imported ones are stored redacted, with their metadata', async () => {
    const pair = { prompt: `${CANARY} ${server.url}`, chosen: `yes, ${EMAIL}`, rejected: 'no' };
    const headers = { 'idempotency-key': `${server.url} pair` };
    const { body } = await post(server, '/v1/preferences', { ...pair, metadata: { comments: [EMAIL] } }, headers);
    assert.deepEqual(
      [body.chosen.text, body.metadata, body.redacted],
      ['yes, [EMAIL]', { comments: ['[EMAIL]'] }, true],
    );
    const twice = await post(server, '/v1/preferences', { ...pair, chosen: 'yes, b@example.com' });
    assert.deepEqual([twice.status, twice.body.error.code], [409, 'already_voted']);
    const rows = [
      { ...pair, comment: `says ${EMAIL}` },
      { prompt: [{ role: 'user', content: pair.prompt }], chosen: 'a', rejected: 'b' },
      { prompt: `plain ${server.url}`, chosen: 'a', rejected: 'b' },
    ];
    const file = rows.map((row) => JSON.stringify(row)).join('\n');
    const report = await post(server, '/v1/preferences/import', file);
    assert.deepEqual([report.body.imported, report.body.errors], [3, []]);
    const list = await get(server, '/v1/preferences?limit=3');
    assert.deepEqual(
      list.data.map(({ redacted }: Json) => redacted),
      [undefined, true, true],
    );
    assert.deepEqual(list.data[2].metadata, { comment: 'says [EMAIL]' });
    await assertNoTrace(server);
  });
}

suite('Node', async () => testRedaction(await start({ REDACT: 'pii' })));

suite('a Worker', async () => {
  const worker = await startWorkerServer(connection.url, { REDACT: 'pii', PRECISION: 'fp32' });
  await worker.uploadPolicy(await localStore.getFolder(policyId));
  testRedaction({ url: worker.url, output: worker.logs });
});

test('a Worker refuses a module with what to do', async () => {
  const worker = await startWorkerServer(connection.url, { REDACT: './my-redact.ts' });
  const { status, body } = await post({ url: worker.url, output: worker.logs }, '/v1/completions', { prompt: 'Once' });
  assert.deepEqual([status, body.error.code], [503, 'invalid_settings']);
  assert.match(
    body.error.message,
    /^settings: REDACT: \.\/my-redact\.ts is a module, .* give pii, or serve the API on Node/,
  );
});

async function writeHook(source: string): Promise<string> {
  const file = path.join(home, 'my-redact.ts');
  await writeFile(file, source);
  return file;
}

test('a module of one’s own redacts what it knows, over the API and for imports of the command', async () => {
  const REDACT = await writeHook("export default (text: string) => text.replaceAll('Zanzibar', '[PLACE]');");
  const server = await start({ REDACT });
  const { body } = await post(server, '/v1/completions', { prompt: 'To Zanzibar', ...saying('Zanzibar') });
  assert.equal(JSON.parse(body.choices[0].text), 'Zanzibar');
  const [row] = await db.select().from(schema.generations).where(eq(schema.generations.id, body.id));
  assert.equal(JSON.parse(row!.text), '[PLACE]');
  const file = path.join(home, 'votes.jsonl');
  await writeFile(file, `${JSON.stringify({ prompt: 'Zanzibar', chosen: 'in Zanzibar', rejected: 'no' })}\n`);
  const child = spawn(process.execPath, [CLI, 'preferences', 'import', file], {
    env: { ...process.env, DATABASE_URL: connection.url, ATTUNE_HOME: home, REDACT },
    stdio: 'inherit',
  });
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
  await assertNoTrace(server);
});

test('a module that throws keeps everything from being stored, and its message from being told', async () => {
  const REDACT = await writeHook('export default (text: string) => { throw new Error(text); };');
  const server = await start({ REDACT });
  const countRows = async () => {
    const tables = [schema.completions, schema.generations, schema.comparisons, schema.preferences];
    const counts = await Promise.all(tables.map((table) => db.$count(table)));
    return Object.fromEntries(tables.map((table, at) => [getTableName(table), counts[at]]));
  };
  const before = await countRows();
  const pair = { prompt: CANARY, chosen: 'yes', rejected: 'no' };
  for (const [route, json] of [
    ['/v1/chat/completions', { messages, max_tokens: 4 }],
    ['/v1/completions', { prompt: CANARY, max_tokens: 4 }],
    ['/v1/comparisons', { prompt: CANARY, max_tokens: 4 }],
    ['/v1/preferences', pair],
    ['/v1/preferences/import', JSON.stringify(pair)],
  ] as const) {
    const { status, body } = await post(server, route, json);
    assert.deepEqual([status, body.error.code], [500, 'redaction_failed'], route);
    assert.match(
      body.error.message,
      /^REDACT: .*my-redact\.ts threw Error, so the text and what it belongs to were not stored; fix the module/,
    );
  }
  const streamed = await post(server, '/v1/chat/completions', { messages, max_tokens: 4, stream: true });
  assert.match(streamed.text, /redaction_failed/);
  assert.doesNotMatch(streamed.text, /\[DONE\]/);
  assert.deepEqual(await countRows(), before);
  await assertNoTrace(server);
});

test('rows from before keep their tokens: nothing is redacted without REDACT', async () => {
  const server = await start();
  const { body } = await post(server, '/v1/completions', { prompt: 'mail a@example.com', max_tokens: 2 });
  const [row] = await db.execute(sql`select prompt::text, redacted from completions where id = ${body.id}`);
  assert.deepEqual({ ...row }, { prompt: '"mail a@example.com"', redacted: false });
});
