// POST /v1/score and best_of on a real server: scores are the log-probabilities that sampling recorded, rankings follow them.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { asc, eq } from 'drizzle-orm';
import { selectGenerations } from '../shared/database/generations.ts';
import { completions, generations } from '../shared/database/schema.ts';
import { type Json, startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer({ PRECISION: 'fp32' });
const { post } = server;
const { db } = server.connection;
const reference = server.policyId;
const model = await server.importTiny(2, { reference });
const PROMPT = 'Once upon a time';

async function assertRejected(path: string, json: object, expected: object, message: RegExp): Promise<void> {
  const { status, body } = await server.request(path, { json });
  const { param, code } = body.error ?? {};
  assert.deepEqual({ status, param, code }, { status: 400, ...expected }, JSON.stringify(body));
  assert.match(body.error.message, message);
}

/** Generates, and returns the stored choices with their prompt's tokens. */
async function generate(fields: object = {}) {
  const { id, model: policy } = await post('/v1/completions', {
    model,
    prompt: PROMPT,
    max_tokens: 20,
    n: 4,
    seed: 5,
    ...fields,
  });
  const rows = await selectGenerations(db).where(eq(generations.completion_id, id)).orderBy(asc(generations.choice));
  const responses = rows.map(({ token_ids, stop_token }) =>
    stop_token === null ? token_ids : [...token_ids, stop_token],
  );
  return { policy, rows, prompt: rows[0]!.prompt_token_ids, responses };
}

const getTokens = ({ tokens }: Json): string[] => tokens.map(({ token }: Json) => token);
const getLogps = ({ tokens }: Json): number[] => tokens.map(({ logp }: Json) => logp);

test('the score of a generation is the log-probabilities that were recorded as it was sampled', async () => {
  const { policy, rows, prompt, responses } = await generate({ n: 12, max_tokens: 100 });
  assert.ok(rows.some(({ stop_token }) => stop_token !== null) && rows.some(({ stop_token }) => stop_token === null));
  const { data, model: scorer, usage } = await post('/v1/score', { model, prompt, responses });
  assert.equal(scorer, policy);
  for (const [at, row] of rows.entries()) {
    const logps = getLogps(data[at]);
    for (const [token, logp] of row.logps.entries()) assert.ok(Math.abs(logps[token]! - logp) < 1e-4);
    assert.deepEqual(
      data[at].tokens.map(({ id }: Json) => id),
      responses[at],
    );
    assert.ok(Math.abs(data[at].logp - logps.reduce((sum, logp) => sum + logp, 0)) < 1e-9);
  }
  const tokens = prompt.length + responses.flat().length;
  assert.deepEqual(usage, { prompt_tokens: tokens, total_tokens: tokens });
});

test('a policy that is served at 8 bits is scored at float32, like its reference', async () => {
  const quantized = await server.importTiny(2, { precision: 'row8', reference });
  const { prompt, responses } = await generate();
  const [exact, scored] = [
    await post('/v1/score', { model, prompt, responses }),
    await post('/v1/score', { model: quantized, prompt, responses }),
  ];
  for (const [at, { log_ratio }] of exact.data.entries())
    assert.ok(Math.abs(scored.data[at].log_ratio - log_ratio) < 1e-4);
  const { choices } = await sample({ model: quantized, best_of: 4, ranker: 'log_ratio' });
  assert.equal(choices.length, 1);
});

test('the log-ratio is the difference to the policy’s own reference, or to a named one', async () => {
  const { prompt, responses } = await generate();
  const scored = await post('/v1/score', { model, prompt, responses });
  const own = await post('/v1/score', { model: reference, prompt, responses });
  assert.deepEqual([scored.reference, own.reference], [reference, null]);
  for (const [at, { logp, ref_logp, log_ratio, tokens }] of scored.data.entries()) {
    assert.deepEqual([ref_logp, log_ratio], [own.data[at].logp, logp - ref_logp]);
    assert.deepEqual([own.data[at].ref_logp, own.data[at].log_ratio], [null, null]);
    for (const token of tokens) assert.equal(token.log_ratio, token.logp - token.ref_logp);
    const total = tokens.reduce((sum: number, token: Json) => sum + token.log_ratio, 0);
    assert.ok(Math.abs(total - log_ratio) < 1e-9);
  }
  const alone = await post('/v1/score', { model, reference: null, prompt, responses });
  assert.deepEqual([alone.reference, alone.data[0].log_ratio], [null, null]);
  assert.equal(alone.data[0].logp, scored.data[0].logp);
  assert.deepEqual(await post('/v1/score', { model, reference: 'attune', prompt, responses }), scored);
  const reversed = await post('/v1/score', { model: reference, reference: model, prompt, responses });
  assert.deepEqual(
    reversed.data.map(({ log_ratio }: Json) => log_ratio),
    scored.data.map(({ log_ratio }: Json) => -log_ratio),
  );
});

test('a score does not depend on what else is scored or generated, and is stored nowhere', async () => {
  const { prompt, responses } = await generate();
  const count = await db.$count(generations);
  const alone = await Promise.all(responses.map((response) => post('/v1/score', { model, prompt, response })));
  const [together] = await Promise.all([
    post('/v1/score', { model, prompt, responses: [...responses, ...responses.map((ids) => ids.slice(1, 9))] }),
    post('/v1/completions', { model, prompt: 'The', max_tokens: 40, n: 8, store: false }),
  ]);
  for (const [at, { data }] of alone.entries()) assert.deepEqual(getLogps(data[0]), getLogps(together.data[at]));
  assert.equal(await db.$count(generations), count);
});

test('a text ends with the end-of-text token unless it is cut, and a chat is rendered as for generating', async () => {
  const messages = [{ role: 'user', content: PROMPT }];
  const whole = await post('/v1/score', { model, messages, responses: [' there was', ' a day.'] });
  const cut = await post('/v1/score', { model, messages, responses: [' there was', ' a day.'], eos: false });
  for (const [at, { tokens }] of cut.data.entries()) {
    assert.deepEqual(getTokens(whole.data[at]).slice(0, -1), getTokens(cut.data[at]));
    assert.equal(whole.data[at].tokens.at(-1).token, '</s>');
    assert.equal(getTokens({ tokens }).join(''), [' there was', ' a day.'][at]);
  }
  const rendered = await post('/v1/score', { model, prompt: PROMPT, response: ' there was' });
  assert.deepEqual(rendered.data[0], whole.data[0]);
});

test('a score is refused where it would mean nothing or cannot be computed', async () => {
  const prompt = PROMPT;
  const response = ' there was';
  const templated = await server.importTiny(4, { chatTemplate: '{{ messages[0].content }}', reference });
  const mismatch = { param: 'reference', code: 'tokenizer_mismatch' };
  await assertRejected('/v1/score', { model, reference: templated, prompt, response }, mismatch, /another tokenizer/);
  await assertRejected('/v1/score', { model: templated, prompt, response }, mismatch, /another tokenizer/);
  const tooLong = { param: 'responses', code: 'context_length_exceeded' };
  await assertRejected(
    '/v1/score',
    { model, prompt, response: 'b'.repeat(200) },
    tooLong,
    /\d+ tokens, .* context of 128/,
  );
  await assertRejected('/v1/score', { model, prompt, response: 'b'.repeat(5000) }, tooLong, /5016 characters/);
  const unknown = await server.request('/v1/score', { json: { model, reference: 'pol_none', prompt, response } });
  assert.deepEqual([unknown.status, unknown.body.error.param], [404, 'reference']);
  const gone = await server.importTiny(16);
  await rm(await server.localStore.getFolder(gone), { recursive: true });
  const missing = await server.request('/v1/score', { json: { model, reference: gone, prompt, response } });
  assert.deepEqual([missing.status, missing.body.error.param], [404, 'reference'], JSON.stringify(missing.body));
});

test('a client that leaves cancels its scores', async () => {
  const long = await server.importTiny(3, { contextLength: 4096, reference });
  const responses = Array.from({ length: 16 }, () => Array.from({ length: 4000 }, (_, at) => 5 + (at % 300)));
  const json = { model: long, reference: long, prompt: [1, 5], responses };
  await assert.rejects(server.request('/v1/score', { json, signal: AbortSignal.timeout(500) }));
  await waitUntil(async () => {
    const { body } = await server.request('/metrics');
    const lines = (body as string).split('\n').filter((line) => line.startsWith('vllm:num_requests_'));
    return lines.length > 0 && lines.every((line) => line.endsWith(' 0'));
  }, 5000);
  await withEdge(server, { REQUEST_TIMEOUT: '1', MAX_ROWS: '1' }, async (send) => {
    assert.equal((await send('/v1/score', { ...json, responses: [[6]] })).status, 200);
    const one = { ...json, responses: responses.slice(0, 1) };
    const late = await Promise.all(Array.from({ length: 24 }, () => send('/v1/score', one)));
    for (const { status, body, headers } of late) {
      if (status === 200) continue;
      const isQueued = status === 503;
      assert.equal(body.error.code, isQueued ? 'queue_timeout' : 'deadline_exceeded');
      assert.match(body.error.message, isQueued ? /^score: timed out in the queue/ : /^score: .* give fewer responses/);
      assert.equal(headers.get('retry-after') !== null, isQueued);
    }
    assert.ok(late.some(({ status }) => status === 503));
    const { status, body } = await send('/v1/score', json);
    assert.deepEqual([status, body.error.code], [504, 'deadline_exceeded']);
  });
});

test('an interrupted score takes the tokens of the responses that were computed', async () => {
  const long = await server.importTiny(17, { contextLength: 4096 });
  const brief = { model: long, prompt: [1, 5], responses: [[6]] };
  const rest = Array.from({ length: 16 }, () => Array.from({ length: 4000 }, (_, at) => 5 + (at % 300)));
  await withEdge(server, { TOKENS_PER_MINUTE: '1000000', REQUEST_TIMEOUT: '1', MAX_ROWS: '1' }, async (send) => {
    const countUsed = async () =>
      1_000_000 - Number((await send('/v1/score', brief)).headers.get('x-ratelimit-remaining-tokens'));
    const before = await countUsed();
    assert.equal((await send('/v1/score', { ...brief, responses: [[6], ...rest] })).status, 504);
    const used = (await countUsed()) - before - 3;
    assert.ok(used >= 3 && used < 3 + 16 * 4000, `${used}`);
  });
});

test('scores take places in the queue and tokens of the minute', async () => {
  const json = { model, prompt: [1, 5, 6], responses: [[7, 8], [9]] };
  await withEdge(server, { TOKENS_PER_MINUTE: '13' }, async (send) => {
    const { headers, status } = await send('/v1/score', json);
    assert.deepEqual([status, headers.get('x-ratelimit-remaining-tokens')], [200, '7']);
    assert.equal((await send('/v1/score', json)).status, 200);
    assert.equal((await send('/v1/score', json)).body.error.code, 'rate_limit_exceeded');
  });
  await withEdge(server, { MAX_ROWS: '1', MAX_QUEUE: '2' }, async (send) => {
    const responses = [[7], [8], [9], [10]];
    const { status, body } = await send('/v1/score', { ...json, responses });
    assert.deepEqual([status, body.error.code, body.error.param], [400, 'responses_exceeded', 'responses']);
    assert.match(body.error.message, /give 3 or less/);
    assert.equal((await send('/v1/score', { ...json, responses: responses.slice(1) })).status, 200);
  });
});

const sample = (fields: object) =>
  post('/v1/completions', { model, prompt: PROMPT, max_tokens: 20, seed: 5, ...fields });
const getTexts = ({ choices }: Json): string[] => choices.map(({ text }: Json) => text);

test('candidate i of best_of is what choice i of n would be, and best_of 1 is plain sampling', async () => {
  const plain = await sample({ n: 8 });
  const ranked = await sample({ n: 3, best_of: 8, ranker: 'log_ratio' });
  assert.equal(ranked.choices.length, 3);
  for (const { text, candidate } of ranked.choices) assert.equal(text, plain.choices[candidate].text);
  assert.deepEqual(getTexts(await sample({ best_of: 1 })), getTexts(await sample({})));
  assert.deepEqual(ranked.usage, plain.usage);
});

test('log_ratio returns the candidates with the largest scores of POST /v1/score, the largest first', async () => {
  const { prompt, responses } = await generate({ n: 8 });
  const { data } = await post('/v1/score', { model, prompt, responses });
  const scores: number[] = data.map(({ log_ratio }: Json) => log_ratio);
  const { choices } = await sample({ n: 3, best_of: 8, ranker: 'log_ratio' });
  const expected = [...scores].sort((a, b) => b - a).slice(0, 3);
  assert.deepEqual(
    choices.map(({ score }: Json) => score),
    expected,
  );
  assert.deepEqual(
    choices.map(({ candidate }: Json) => candidate),
    expected.map((score) => scores.indexOf(score)),
  );
});

test('without a ranker best_of returns the candidates with the largest mean log-probability, as OpenAI does', async () => {
  const { prompt, responses } = await generate({ n: 8 });
  const { data } = await post('/v1/score', { model, prompt, responses });
  const means: number[] = data.map(({ logp, tokens }: Json) => logp / tokens.length);
  const { choices } = await sample({ best_of: 8 });
  assert.equal(choices[0].candidate, means.indexOf(Math.max(...means)));
});

test('a reward scores responses and ranks candidates', async () => {
  const reward = await server.importTiny(11, { variant: { output: 'reward' } });
  assert.match(reward, /^rwd_/);
  const { prompt, responses } = await generate({ n: 8 });
  const scored = await post('/v1/score', { model, reward, prompt, responses });
  assert.equal(scored.reward, reward);
  const rewards: number[] = scored.data.map((item: Json) => item.reward);
  const { choices } = await sample({ n: 2, best_of: 8, ranker: reward });
  const expected = [...rewards].sort((a, b) => b - a).slice(0, 2);
  for (const [at, { score, candidate }] of choices.entries()) {
    assert.ok(Math.abs(score - expected[at]!) < 1e-4);
    assert.equal(candidate, rewards.indexOf(expected[at]!));
  }
  const { data } = await post('/v1/score', { model, prompt, responses });
  assert.deepEqual([data[0].reward, data[0].logp], [null, scored.data[0].logp]);

  const templated = await server.importTiny(12, {
    chatTemplate: '{{ messages[0].content }}',
    variant: { output: 'reward' },
  });
  const mismatch = (param: string) => ({ param, code: 'tokenizer_mismatch' });
  await assertRejected('/v1/score', { reward: templated, prompt, responses }, mismatch('reward'), /another tokenizer/);
  const json = { model, prompt: PROMPT, max_tokens: 20, best_of: 2 };
  await assertRejected('/v1/completions', { ...json, ranker: templated }, mismatch('ranker'), /another tokenizer/);
  const short = await server.importTiny(13, { contextLength: 16, variant: { output: 'reward' } });
  const outgrown = { param: 'max_tokens', code: 'context_length_exceeded' };
  await assertRejected('/v1/completions', { ...json, ranker: short }, outgrown, /context of 16/);
  const policy = { param: 'reward', code: 'policy_not_reward' };
  await assertRejected('/v1/score', { reward: model, prompt, responses }, policy, /is a policy, not a reward/);
});

test('candidates that were generated are ranked, however many others wait for the policy that ranks them', async () => {
  await withEdge(server, { MAX_ROWS: '3', MAX_QUEUE: '1' }, async (send) => {
    const long = await server.importTiny(14, { contextLength: 4096 });
    const trained = await server.importTiny(15, { reference: long });
    const json = { prompt: [1, 5], max_tokens: 3000, n: 4, logit_bias: { 1: -100, 2: -100 }, store: false };
    await send('/v1/completions', { ...json, model: long, max_tokens: 1 });
    let isRunning = true;
    const running = send('/v1/completions', { ...json, model: long }).finally(() => {
      isRunning = false;
    });
    const ranked = send('/v1/completions', {
      ...json,
      model: trained,
      max_tokens: 4,
      n: 1,
      best_of: 3,
      ranker: 'log_ratio',
    });
    const refused = await send('/v1/score', { model: long, prompt: [1, 5], response: [6] });
    assert.deepEqual([refused.status, isRunning], [429, true]);
    assert.equal((await ranked).status, 200);
    assert.equal((await running).status, 200);
  });
});

test('only the returned choices are stored, marked as selected', async () => {
  const messages = [{ role: 'user', content: PROMPT }];
  const fields = { model, messages, max_tokens: 12, seed: 5, n: 2, best_of: 6, ranker: 'log_ratio', logprobs: true };
  const chat = await post('/v1/chat/completions', fields);
  assert.equal(chat.id, chat.choices[0].generation_id);
  assert.ok(chat.usage.completion_tokens > chat.choices.flatMap(({ logprobs }: Json) => logprobs.content).length);
  const rows = await selectGenerations(db).where(eq(completions.id, chat.id)).orderBy(asc(generations.choice));
  assert.deepEqual(
    rows.map(({ id, text }) => [id, text]),
    chat.choices.map(({ generation_id, message }: Json) => [generation_id, message.content]),
  );
  const { best_of, ranker } = rows[0]!.sampling;
  assert.deepEqual([best_of, ranker], [6, 'log_ratio']);
  const { body: stored } = await server.request(`/v1/chat/completions/${chat.id}`);
  assert.deepEqual(
    stored.choices.map(({ message }: Json) => message),
    chat.choices.map(({ message }: Json) => message),
  );
});

test('best_of is refused where it cannot be streamed, ranked or decoded together', async () => {
  const json = { model, prompt: PROMPT, max_tokens: 20 };
  const exceeded = { param: 'best_of', code: 'best_of_exceeded' };
  const invalid = (param: string) => ({ param, code: 'invalid_value' });
  await assertRejected(
    '/v1/completions',
    { ...json, best_of: 17 },
    exceeded,
    /17 candidates exceed the 16 rows .* 16 or less/,
  );
  await assertRejected('/v1/completions', { ...json, best_of: 2, stream: true }, invalid('stream'), /omit stream/);
  await assertRejected('/v1/completions', { ...json, n: 17, ranker: 'mean_logp' }, invalid('n'), /16/);
  await assertRejected('/v1/completions', { ...json, n: 3, best_of: 2 }, invalid('best_of'), /n or more/);
  const ranked = { ...json, best_of: 2, ranker: 'log_ratio' };
  await assertRejected(
    '/v1/completions',
    { ...ranked, model: reference },
    { param: 'ranker', code: 'no_reference' },
    /no reference/,
  );
  const templated = await server.importTiny(6, { chatTemplate: '{{ messages[0].content }}', reference });
  await assertRejected(
    '/v1/completions',
    { ...ranked, model: templated },
    { param: 'ranker', code: 'tokenizer_mismatch' },
    /tokenizer/,
  );
  const short = await server.importTiny(7, { contextLength: 24 });
  const trained = await server.importTiny(8, { reference: short });
  const outgrown = { param: 'max_tokens', code: 'context_length_exceeded' };
  await assertRejected(
    '/v1/completions',
    { ...ranked, model: trained },
    outgrown,
    new RegExp(`${short}.* context of 24`),
  );
  const { prompt: _, max_tokens, ...chat } = { ...ranked, model: trained, max_completion_tokens: 20 };
  await assertRejected(
    '/v1/chat/completions',
    { ...chat, messages: [{ role: 'user', content: PROMPT }] },
    { ...outgrown, param: 'max_completion_tokens' },
    /^max_completion_tokens: /,
  );
  await withEdge(server, { MAX_ROWS: '2' }, async (send) => {
    const { body } = await send('/v1/completions', { ...json, n: 3, ranker: 'mean_logp' });
    assert.deepEqual([body.error.param, body.error.code], ['n', 'best_of_exceeded']);
  });
  const unknown = await server.request('/v1/completions', { json: { ...json, best_of: 2, ranker: 'rwd_none' } });
  assert.deepEqual([unknown.status, unknown.body.error.param], [404, 'ranker']);
  // 256 bytes a token: 2 layers, keys and values of 2 heads, 8 numbers each.
  await withEdge(server, { KV_MEMORY: '1048576' }, async (send) => {
    const wide = await server.importTiny(9, { contextLength: 4096 });
    const { status, body } = await send('/v1/completions', {
      model: wide,
      prompt: PROMPT,
      max_tokens: 3000,
      best_of: 2,
    });
    assert.deepEqual([status, body.error.code], [400, 'best_of_exceeded']);
    assert.match(body.error.message, /KV_MEMORY of 1048576 bytes holds 1 candidates .* give 1 or less/);
  });
});

test('a request with a key gets its ranked choices again', async () => {
  const headers = { 'idempotency-key': 'ranked' };
  const json = { model, prompt: PROMPT, max_tokens: 8, n: 2, best_of: 5, ranker: 'log_ratio' };
  const [first, second] = [
    await server.request('/v1/completions', { json, headers }),
    await server.request('/v1/completions', { json, headers }),
  ];
  assert.equal(second.headers.get('idempotent-replayed'), 'true');
  assert.deepEqual(second.body, first.body);
});
