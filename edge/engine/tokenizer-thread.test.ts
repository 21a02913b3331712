import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { ChatMessage, Prompt } from '../../shared/chat-message.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import type { Waiter } from './inference.ts';
import { Tenants } from './tenants.ts';
import { TokenizerThread } from './tokenizer-thread.ts';

const root = await mkdtemp(path.join(tmpdir(), 'attune-tokenizer-'));
after(() => rm(root, { recursive: true, force: true }));

const say = (content: string): ChatMessage[] => [{ role: 'user', content }];

/** Renders every other chat, and never ends for `loop`: a million million iterations. */
const ENDLESS =
  "{% if messages[0]['content'] == 'loop' %}{% set many = range(1000) %}{% for a in many %}{% for b in many %}" +
  '{% for c in many %}{% for d in many %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endif %}' +
  "{{ messages[0]['content'] }}";
/** Doubles a text until memory ends for `grow`. */
const GROWING =
  "{% set ns = namespace(all=[]) %}{% if messages[0]['content'] == 'grow' %}{% for a in range(1000) %}" +
  '{% set ns.all = ns.all + [range(100000)] %}{% endfor %}{% endif %}done';

type Checkpoint = { name: string; chatTemplate?: string; edit?(tokenizer: Record<string, unknown>): void };

async function writeCheckpoint({ name, chatTemplate, edit }: Checkpoint): Promise<string> {
  const folder = path.join(root, name);
  await writeTinyCheckpoint(folder, chatTemplate === undefined ? {} : { chatTemplate });
  const file = path.join(folder, 'tokenizer.json');
  const tokenizer = JSON.parse(await readFile(file, 'utf8'));
  edit?.(tokenizer);
  await writeFile(file, JSON.stringify(tokenizer));
  return folder;
}

/** Splits by a regular expression that backtracks for 2^n steps on n letters that an exclamation mark does not follow. */
function backtrack(tokenizer: Record<string, unknown>): void {
  tokenizer.pre_tokenizer = { type: 'Split', pattern: { Regex: '(q+)+!' }, behavior: 'Isolated', invert: false };
}

const PHASE_MS = { open: 30_000, render: 1500, encode: 1500, compile: 1500 };

function openThread(phaseMs = PHASE_MS, isShared = false) {
  const thread = new TokenizerThread(
    { maxRows: 1, maxQueue: 8, tenants: new Tenants(isShared) },
    { phaseMs, heapMiB: 128 },
  );
  after(() => thread.close());
  return {
    thread,
    encode: (folder: string, prompt: Prompt | null, waiter?: Waiter) =>
      thread.encode({ folder, key: folder, contextLength: 4096, prompt }, waiter),
  };
}

test('encodes as the tokenizer does, for several policies', async () => {
  const { encode } = openThread();
  const folders = [
    await writeCheckpoint({ name: 'a' }),
    await writeCheckpoint({ name: 'b', chatTemplate: 'b: {{ bos_token }}' }),
  ];
  for (const folder of [...folders, ...folders]) {
    const tokenizer = await Tokenizer.open(folder);
    assert.deepEqual((await encode(folder, 'Once upon')).promptIds, tokenizer.encode('Once upon'));
    const rendered = tokenizer.renderChat(say('a time'), { addGenerationPrompt: true });
    assert.deepEqual((await encode(folder, say('a time'))).promptIds, tokenizer.encode(rendered));
  }
});

test("a template's error reaches the request, and the thread goes on", async () => {
  const { encode } = openThread();
  const folder = await writeCheckpoint({ name: 'raising', chatTemplate: "{{ raise_exception('no') }}" });
  await encode(folder, null);
  await assert.rejects(encode(folder, say('Hi')), {
    name: 'AttuneError',
    code: 'chat_template_error',
    param: 'messages',
  });
  assert.ok((await encode(folder, 'Hi')).promptIds.length > 0);
});

test('a template that never ends fails its own request only: those behind it run on a new thread', async () => {
  const { encode } = openThread();
  const folder = await writeCheckpoint({ name: 'endless', chatTemplate: ENDLESS });
  await encode(folder, null);
  const endless = encode(folder, say('loop'));
  const others = [encode(folder, say('Once')), encode(folder, 'Once')];
  await assert.rejects(endless, {
    status: 400,
    code: 'chat_template_error',
    param: 'messages',
    message: /^messages: the policy's chat template takes longer than 1\.5 seconds/,
  });
  for (const { promptIds } of await Promise.all(others)) assert.ok(promptIds.length > 0);
});

test('a regular expression that backtracks without end fails its own request only', async () => {
  const { encode } = openThread();
  const folder = await writeCheckpoint({ name: 'backtracking', edit: backtrack });
  await encode(folder, null);
  const endless = encode(folder, 'q'.repeat(60));
  const other = encode(folder, 'Once upon a time');
  await assert.rejects(endless, {
    status: 400,
    code: 'tokenizer_error',
    param: 'prompt',
    message: /^prompt: tokenizing the prompt takes longer than 1\.5 seconds/,
  });
  assert.ok((await other).promptIds.length > 0);
});

test('a template that fills the memory fails its own request only', async () => {
  const { encode } = openThread({ ...PHASE_MS, render: 60_000 });
  const folder = await writeCheckpoint({ name: 'growing', chatTemplate: GROWING });
  const growing = encode(folder, say('grow'));
  const other = encode(folder, say('stay'));
  await assert.rejects(growing, { status: 400, code: 'chat_template_error', message: /needs more than 128 MiB/ });
  assert.ok((await other).promptIds.length > 0);
});

test('a checkpoint that hangs while it is opened is rejected', async () => {
  const { encode } = openThread({ ...PHASE_MS, open: 4000 });
  // Opening encodes the letter a.
  const hanging = await writeCheckpoint({
    name: 'hanging',
    edit(tokenizer) {
      tokenizer.normalizer = { type: 'Replace', pattern: { String: 'a' }, content: 'q'.repeat(60) };
      backtrack(tokenizer);
    },
  });
  const error = { code: 'invalid_checkpoint', message: /^tokenizer\.json: opening it takes longer than 4 seconds/ };
  await assert.rejects(encode(hanging, null), error);
  const looping = await writeCheckpoint({ name: 'looping', chatTemplate: ENDLESS.replace("== 'loop'", "!= ''") });
  await assert.rejects(openThread().encode(looping, null), {
    code: 'invalid_checkpoint',
    message: /^tokenizer_config\.json: chat_template: .* longer than 1\.5 seconds/,
  });
});

test('compiles schemas, refuses them by their path, and ends one that takes too long', async () => {
  const { thread } = openThread();
  const compile = (schema: unknown) => thread.compile({ schema, path: 'root' });
  const { code, start } = await compile({ type: 'integer' });
  assert.ok(code instanceof Int32Array && start >= 0);
  await assert.rejects(compile({ type: 'string', minimum: 1 }), {
    code: 'unsupported_schema',
    param: 'root.minimum',
    message: /^root\.minimum: it is for number/,
  });
  const { thread: hurried, encode } = openThread({ ...PHASE_MS, compile: 1 });
  const properties = Object.fromEntries(Array.from({ length: 700 }, (_, at) => [`p${at}`, { minimum: at }]));
  const slow = hurried.compile({ schema: { type: 'object', properties }, path: 'root' });
  const folder = await writeCheckpoint({ name: 'behind a schema' });
  const behind = encode(folder, 'Once');
  await assert.rejects(slow, {
    param: 'root',
    message: /^root: compiling it takes longer than 0\.001 seconds; simplify it$/,
  });
  assert.ok((await behind).promptIds.length > 0);
});

test('callers take turns, and a caller that waits with many prompts gets 429 while others find room', async () => {
  const { encode } = openThread(PHASE_MS, true);
  const folder = await writeCheckpoint({ name: 'turns' });
  await encode(folder, null);
  const order: string[] = [];
  const send = (tenant: string) => encode(folder, 'Once upon', { tenant }).then(() => order.push(tenant));
  const many = Array.from({ length: 8 }, () => send('many'));
  const few = send('few');
  const refused = (await Promise.allSettled(many)).filter(({ status }) => status === 'rejected');
  await few;
  assert.ok(refused.length > 0 && refused.length < 8);
  for (const result of refused) assert.equal((result as PromiseRejectedResult).reason.code, 'queue_full');
  assert.equal(order.indexOf('few'), 2, `${order}`);
});

test('a request whose signal aborts leaves the queue at once', async () => {
  const { encode } = openThread();
  const folder = await writeCheckpoint({ name: 'abort', chatTemplate: ENDLESS });
  const running = encode(folder, say('loop'));
  const abort = new AbortController();
  const waiting = encode(folder, 'Once', { signal: abort.signal });
  abort.abort(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  await assert.rejects(encode(folder, 'Once', { signal: abort.signal }), /gone/);
  await assert.rejects(running, { code: 'chat_template_error' });
});

test('close fails what runs and waits, and later requests', async () => {
  const { thread, encode } = openThread({ ...PHASE_MS, render: 60_000 });
  const folder = await writeCheckpoint({ name: 'closing', chatTemplate: ENDLESS });
  const requests = [encode(folder, say('loop')), encode(folder, 'Once')];
  const results = Promise.allSettled(requests);
  await thread.close();
  for (const result of await results) assert.equal((result as PromiseRejectedResult).reason.code, 'closing');
  await assert.rejects(encode(folder, 'Once'), { code: 'closing' });
});
