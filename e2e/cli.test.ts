// The `attune` command as processes: signals, exit codes and messages.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verifyFiles } from '../shared/package/files.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const home = await mkdtemp(path.join(tmpdir(), 'attune-command-'));
await chmod(home, 0o755);
const children = new Set<ChildProcess>();
after(async () => {
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(
    [...children].map(
      (child) => child.exitCode ?? child.signalCode ?? new Promise((resolve) => child.once('exit', resolve)),
    ),
  );
  await rm(home, { recursive: true, force: true });
});

type Running = { child: ChildProcess; output(): string; ended: Promise<number | null> };

function run(args: string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ATTUNE_HOME: home, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return { child, output: () => output, ended: new Promise((resolve) => child.once('close', resolve)) };
}

async function waitForUrl({ output, ended }: Running): Promise<string> {
  let over = false;
  void ended.then(() => (over = true));
  for (let attempt = 0; attempt < 2400 && !over; attempt++) {
    const url = /ready at ([^\s"]+)/.exec(output())?.[1];
    if (url) return url;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the server did not start: ${output()}`);
}

const postmaster = async () =>
  Number((await readFile(path.join(home, 'postgres/data/postmaster.pid'), 'utf8').catch(() => '0')).split('\n')[0]);

const ONCE = { prompt: 'Once upon a time', max_tokens: 24, temperature: 0 };
/** The greedy continuation by stories15M, from llama2.c's own program. */
const GOLDEN = ', there was a little girl named Lily. She loved to play outside in the sunshine. One day,';

async function complete(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(ONCE),
  });
  // biome-ignore lint/suspicious/noExplicitAny: a response body
  return { status: response.status, body: (await response.json()) as any };
}

test('start runs everything, serves the golden text, and Ctrl-C stops every process', async () => {
  const start = run(['start']);
  const url = await waitForUrl(start);
  const { status, body } = await complete(url);
  assert.equal(status, 200);
  assert.ok(body.choices[0].text.startsWith(GOLDEN), body.choices[0].text);

  const second = run(['start']);
  assert.equal(await second.ended, 1);
  assert.match(second.output(), /Attune already runs on/);

  const pid = await postmaster();
  start.child.kill('SIGINT');
  assert.equal(await start.ended, 0);
  assert.throws(() => process.kill(pid, 0));
});

test('after kill -9 of every process the next start recovers with the same policy', async () => {
  const first = run(['start']);
  const model = (await complete(await waitForUrl(first))).body.model;
  const pid = await postmaster();
  first.child.kill('SIGKILL');
  process.kill(pid, 'SIGKILL');
  await first.ended;
  const second = run(['start']);
  assert.equal((await complete(await waitForUrl(second))).body.model, model);
  second.child.kill('SIGTERM');
  assert.equal(await second.ended, 0);
});

test('with API_KEY set, requests without the key get 401 and /health is public', async () => {
  const start = run(['start'], { API_KEY: 'a-secret-key', HOST: '0.0.0.0' });
  const url = (await waitForUrl(start)).replace('0.0.0.0', '127.0.0.1');
  for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'nonsense' }] as Record<
    string,
    string
  >[]) {
    const { status, body } = await complete(url, headers);
    assert.equal(status, 401);
    assert.equal(body.error.code, 'invalid_api_key');
  }
  assert.equal((await complete(url, { authorization: 'Bearer a-secret-key' })).status, 200);
  assert.equal((await fetch(`${url}/health`)).status, 200);
  start.child.kill('SIGTERM');
  await start.ended;
});

test('a key of `attune keys` may what its scopes say, until it is revoked', async () => {
  const start = run(['start'], { API_KEY: 'a-secret-key' });
  const url = await waitForUrl(start);
  const command = async (...args: string[]) => {
    const running = run(['keys', ...args]);
    assert.equal(await running.ended, 0, running.output());
    return running.output().trim();
  };
  const limits = ['--requests', '100', '--tokens', '10000', '--concurrent', '4', '--rows', '1000'];
  const created = await command('create', 'chat backend', '--scope', 'generate', 'read', '--days', '1', ...limits);
  assert.match(created, /^key_\w{12} \(its id, for rotate and revoke\)/m);
  const findKey = (output: string) => /^sk-at-\S+$/m.exec(output)![0];
  const key = findKey(created);
  const authorization = `Bearer ${key}`;
  assert.equal((await complete(url, { authorization })).status, 200);
  assert.equal((await fetch(`${url}/v1/keys`, { headers: { authorization } })).status, 403);
  const listed = await command('list');
  assert.match(listed, /^id +name +tenant +scopes +expires +last used$/m);
  assert.match(
    listed,
    /^key_\w{12} {2}chat backend {2}default {2}generate,read {2}20\S+ \d\d:\d\dZ {2}20\S+ \d\d:\d\dZ$/m,
  );
  const id = /key_\w{12}/.exec(listed)![0];
  const rotated = findKey(await command('rotate', id));
  assert.notEqual(rotated, key);
  assert.match(await command('revoke', id), /is revoked/);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  for (const old of [key, rotated]) assert.equal((await complete(url, { authorization: `Bearer ${old}` })).status, 401);
  const audit = run(['audit', 'export']);
  assert.equal(await audit.ended, 0, audit.output());
  const events = audit.output().trim().split('\n');
  assert.deepEqual(
    events.map((line) => JSON.parse(line).action).filter((action) => action.startsWith('key.')),
    ['key.created', 'key.rotated', 'key.revoked'],
  );
  const wrong = run(['keys', 'create', 'x', '--scope', 'root']);
  assert.equal(await wrong.ended, 1);
  assert.match(wrong.output(), /'root' is invalid.*generate, rate, feedback/s);
  for (const [args, message] of [
    [['', '--scope', 'read'], /'name'.*is empty; say what the key is for/],
    [['x', '--scope', 'read', '--tenant', 'My Shop'], /'My Shop' is invalid.*1 to 64 letters, digits/],
  ] as const) {
    const invalid = run(['keys', 'create', ...args]);
    assert.equal(await invalid.ended, 1);
    assert.match(invalid.output(), message);
  }
  start.child.kill('SIGTERM');
  await start.ended;
});

test('the link of `attune raters invite` signs in, once', async () => {
  const start = run(['start'], { API_KEY: 'a-secret-key' });
  const url = await waitForUrl(start);
  const command = async (...args: string[]) => {
    const running = run(['raters', ...args]);
    assert.equal(await running.ended, 0, running.output());
    return running.output().trim();
  };
  const id = await command('create', 'Ann Example', '--skill', 'french', 'law');
  assert.deepEqual(
    (await command('list')).split('\n').map((line) => line.split(/ {2,}/)),
    [
      ['id', 'name', 'tenant', 'skills', 'active'],
      [id, 'Ann Example', 'default', 'french,law', 'yes'],
    ],
  );
  const link = await command('invite', id, '--hours', '1', '--url', url);
  const invitation = new URL(link).searchParams.get('invitation');
  const signIn = () =>
    fetch(`${url}/v1/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ invitation }),
    });
  assert.deepEqual([(await signIn()).status, (await signIn()).status], [200, 401]);
  const readRow = (table: string) => table.split('\n')[1]!.split(/ {2,}/);
  const updated = [id, 'Ann', 'default', 'law', 'no'];
  const inactive = await command('update', id, '--name', ' Ann ', '--skill', 'law', 'law', '--inactive');
  assert.deepEqual(readRow(inactive), updated);
  assert.deepEqual(readRow(await command('list')), updated);
  assert.equal(readRow(await command('update', id, '--active')).at(-1), 'yes');
  for (const [args, message] of [
    [[id], /give --name, --skill, --active or --inactive/],
    [[id, '--active', '--inactive'], /cannot be used with option/],
    [[id, '--name', ' '], /is empty; give the name of a person/],
    [['rater_none', '--active'], /there is no rater rater_none/],
  ] as const) {
    const wrong = run(['raters', 'update', ...args]);
    assert.equal(await wrong.ended, 1);
    assert.match(wrong.output(), message);
  }
  const tenant = run(['raters', 'create', 'Bea', '--tenant', 'a b']);
  assert.equal(await tenant.ended, 1);
  assert.match(tenant.output(), /1 to 64 letters/);
  const unknown = run(['raters', 'invite', 'rater_none']);
  assert.equal(await unknown.ended, 1);
  assert.match(unknown.output(), /^attune: there is no rater rater_none/);
  start.child.kill('SIGTERM');
  await start.ended;
});

test('`attune queues` creates, fills, lists and exports a queue', async () => {
  const command = async (...args: string[]) => {
    const running = run(['queues', ...args]);
    assert.equal(await running.ended, 0, running.output());
    return running.output().trim();
  };
  const write = async (name: string, text: string) => {
    const file = path.join(home, name);
    await writeFile(file, text);
    return file;
  };
  const guidelines = await write('guidelines.md', '# Be fair');
  const id = await command('create', 'Answers', '--guidelines', guidelines, '--settings', '{"reviews": 2}');
  assert.match(id, /^que_[0-9a-f]{32}$/);
  const text = await write('prompts.txt', 'Once\n\nTwice\nOnce\n');
  assert.equal(await command('import', id, text, '--text'), 'imported 2, duplicates 1');
  const gold = { prompt: 'Sum?', a: '2', b: '3', expected: 'a' };
  const items = await write('gold.jsonl', JSON.stringify(gold));
  assert.equal(await command('import', id, items), 'imported 1, duplicates 0');
  assert.deepEqual(
    (await command('list')).split('\n').map((line) => line.split(/ {2,}/)),
    [
      ['id', 'name', 'tenant', 'status', 'items', 'reviews'],
      [id, 'Answers', 'default', 'open', '2', '0 of 4'],
    ],
  );
  assert.match(await command('quality', id), /^votes +0, and 0 skips\nitems +0 voted on/);
  const exported = (await command('export', id)).split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(
    exported.map(({ prompt, messages, kind }) => [messages ?? prompt, kind]),
    [
      [[{ role: 'user', content: 'Once' }], 'rated'],
      [[{ role: 'user', content: 'Twice' }], 'rated'],
      ['Sum?', 'gold'],
    ],
  );
  assert.equal(exported[2].a.text, '2');
  const bad = await write('bad.jsonl', '{"prompt": "x"}\n{"prompt": "x", "expected": "a"}');
  for (const [args, message] of [
    [['create', 'Answers'], /there is already a queue "Answers"/],
    [['create', 'x', '--settings', '{"review": 2}'], /Unrecognized key: "review"/],
    [['import', id, bad], /row 2: a, b: are missing; .* nothing was imported/],
    [['import', 'que_none', text, '--text'], /there is no queue que_none/],
  ] as const) {
    const wrong = run(['queues', ...args]);
    assert.equal(await wrong.ended, 1);
    assert.match(wrong.output(), message);
  }
});

test('export and import at another precision create a new policy and report its quality', async () => {
  const list = run(['policies', 'list']);
  assert.equal(await list.ended, 0, list.output());
  const id = /pol_[0-9a-f]{32}/.exec(list.output())![0];
  const folder = path.join(home, 'copy');
  const exported = run(['policies', 'export', id, folder, '--precision', 'int8']);
  assert.equal(await exported.ended, 0, exported.output());
  assert.match(exported.output(), /served at int8: perplexity [\d.]+ .* greedy tokens are float32's, KL 0\.00/);
  const manifest = JSON.parse(await readFile(path.join(folder, 'policy.json'), 'utf8'));
  assert.equal(manifest.serving.precision, 'int8');
  assert.equal(manifest.parent, id);
  assert.notEqual(manifest.id, id);
  await verifyFiles(folder, manifest);

  const imported = run(['policies', 'import', folder, '--precision', 'int4']);
  assert.equal(await imported.ended, 0, imported.output());
  assert.match(imported.output(), /served at int4/, 'an explicit precision is used although its quality is too low');
  const chosen = run(['policies', 'import', folder], { PRECISION: 'int4' });
  assert.equal(await chosen.ended, 0, chosen.output());
  assert.match(chosen.output(), /served at row8/, 'PRECISION falls back to the next better precision');
});

const failures: [string[], Record<string, string>, RegExp][] = [
  [['start'], { HOST: '0.0.0.0' }, /^attune: settings: HOST is 0\.0\.0\.0.*set API_KEY/],
  [['start'], { PORT: 'abc' }, /^attune: settings: PORT: /],
  [['preferences', 'import', '/nowhere.jsonl'], {}, /^attune: preferences import: ENOENT/],
  [['policies', 'import', tmpdir()], {}, /^attune: .*config\.json/],
  [['policies', 'show', 'pol_nothing'], {}, /^attune: there is no policy pol_nothing/],
  [['serve'], { DATABASE_URL: 'postgres://127.0.0.1:1/none' }, /"area":"attune","msg":"Postgres cannot be reached/],
];
for (const [args, env, expected] of failures) {
  test(`attune ${args.join(' ')} ${Object.keys(env).join(' ')} fails with one line`, async () => {
    const ran = run(args, env);
    assert.equal(await ran.ended, 1);
    assert.match(ran.output(), expected);
    assert.equal(ran.output().trim().split('\n').length, 1, ran.output());
  });
}

test('every command has help with examples', async () => {
  for (const command of [
    'start',
    'serve',
    'train',
    'policies',
    'canary',
    'preferences',
    'keys',
    'audit',
    'demo',
    'doctor',
  ]) {
    const help = run([command, '--help']);
    assert.equal(await help.ended, 0);
    assert.match(help.output(), /Examples:\n {2}\$ /, command);
  }
});

test('doctor lists what it found', async () => {
  const doctor = run(['doctor']);
  assert.equal(await doctor.ended, 0, doctor.output());
  for (const name of ['node', 'postgres', 'onnxruntime', 'tensorflow', 'processor', 'memory', 'disk'])
    assert.match(doctor.output(), new RegExp(`^${name} `, 'm'));
});
