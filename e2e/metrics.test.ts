// GET /metrics against the responses of a running server.

import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { CHANGES } from '../shared/database/channels.ts';
import { connect } from '../shared/database/connect.ts';
import { round_events, round_metrics, rounds, webhook_events } from '../shared/database/schema.ts';
import { subscribe } from '../shared/database/subscribe.ts';
import { readSettings } from '../shared/settings.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { openTcpProxy } from '../testing/tcp-proxy.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer();

/** Values by name and labels. */
async function scrape(url = server.edge.url): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const values = new Map<string, number>();
  for (const line of (await response.text()).split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line) ?? assert.fail(line);
    values.set(name!, Number(value));
  }
  return values;
}

const messages = [
  { role: 'system', content: 'Tell stories about the sea and its people, one after another, in plain words.' },
];

test('tokens, requests and latencies add up to the usage of the responses', async () => {
  const usage = { prompt: 0, completion: 0 };
  const reasons: Record<string, number> = {};
  for (let seed = 0; seed < 4; seed++) {
    const json = { messages: [...messages, { role: 'user', content: `Story ${seed}` }], n: 2, max_tokens: 6, seed };
    const { body } = await server.request('/v1/chat/completions', { json });
    usage.prompt += body.usage.prompt_tokens;
    usage.completion += body.usage.completion_tokens;
    for (const choice of body.choices) reasons[choice.finish_reason] = (reasons[choice.finish_reason] ?? 0) + 1;
  }
  const policy = `model_name="${server.policyId}"`;
  await waitUntil(async () => (await scrape()).get(`vllm:num_requests_running{${policy}}`) === 0);
  const metrics = await scrape();
  const of = (name: string, labels = '') => metrics.get(`vllm:${name}{${policy}${labels}}`);
  // Counted as in vLLM: each of the two choices counts the whole prompt.
  assert.equal(of('prompt_tokens_total'), 2 * usage.prompt);
  assert.equal(of('generation_tokens_total'), usage.completion);
  for (const [reason, count] of Object.entries(reasons))
    assert.equal(of('request_success_total', `,finished_reason="${reason}"`), count);
  assert.equal(of('e2e_request_latency_seconds_count'), 8);
  assert.equal(of('num_requests_waiting'), 0);
  for (const name of ['time_to_first_token_seconds', 'inter_token_latency_seconds', 'request_queue_time_seconds'])
    assert.ok(of(`${name}_count`)! > 0, name);
  assert.ok(of('e2e_request_latency_seconds_sum')! >= of('time_to_first_token_seconds_sum')! / 2);
  assert.ok(metrics.get(`attune_tokens_per_second{${policy}}`)! > 0);
  // The prompt is computed once per request, and the system message once overall.
  assert.equal(of('prefix_cache_queries_total'), 2 * usage.prompt);
  assert.ok(of('prefix_cache_hits_total')! > 1.5 * usage.prompt);
  assert.ok(of('kv_cache_usage_perc')! > 0 && of('kv_cache_usage_perc')! < 1);
});

test('a swap changes the active policy, and a policy that fails to load is counted', async () => {
  const other = await server.importTiny(2);
  await activatePolicy(server.connection.db, other, 'test');
  await waitUntil(async () => (await scrape()).get(`attune_active_policy_info{policy="${other}"}`) === 1);
  const metrics = await scrape();
  assert.equal([...metrics.keys()].filter((name) => name.startsWith('attune_active_policy_info')).length, 1);
  assert.equal(metrics.get('attune_swaps_total'), 2);

  const damaged = await server.importTiny(3);
  await truncate(path.join(server.home, 'policies', damaged, 'onnx', 'model.onnx_data'), 100);
  await activatePolicy(server.connection.db, damaged, 'test');
  await waitUntil(async () => (await scrape()).get('attune_refused_policies_total')! > 0);
  assert.equal((await scrape()).get(`attune_active_policy_info{policy="${other}"}`), 1);
});

test('rounds, trainers, webhooks and connections are read from Postgres, and a scrape works without it', async () => {
  const { db } = server.connection;
  const running = { trigger: 'api' as const, settings: {}, started_at: new Date(Date.now() - 60_000) };
  const ended = { ...running, status: 'succeeded' as const, stage: 'refused' as const, finished_at: new Date() };
  await db.insert(rounds).values([
    { id: 'round_1', ...ended },
    { id: 'round_2', ...running, status: 'running', stage: 'training' },
  ]);
  await db.insert(round_events).values({ round_id: 'round_2', level: 'info', type: 'stage', message: 'training' });
  await db.insert(round_metrics).values({ round_id: 'round_2', step: 17, split: 'train', values: {} });
  await server.request('/v1/preferences', { json: { prompt: 'Once', chosen: ' yes', rejected: ' no' } });
  const trainer = connect(server.databaseUrl, { name: 'attune trainer' });
  const waiting = await subscribe(trainer, CHANGES, { name: 'test', pollIntervalMs: 60_000 }, async () => {});

  const proxy = await openTcpProxy(server.databaseUrl);
  const edge = await startEdge(readSettings({ ATTUNE_HOME: server.home, PORT: '0' }), proxy.url);
  try {
    const metrics = await scrape(edge.url);
    const expected = {
      attune_postgres_up: 1,
      'attune_rounds{status="running"}': 1,
      'attune_rounds{status="succeeded"}': 1,
      'attune_running_round_info{stage="training"}': 1,
      attune_running_round_step: 17,
      'attune_last_round_info{result="refused"}': 1,
      attune_new_pairs: 1,
      attune_trainers: 1,
      attune_webhooks_pending: await db.$count(webhook_events),
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(metrics.get(name), value, name);
    assert.ok(metrics.get('attune_running_round_seconds')! >= 60);
    assert.ok(metrics.get('attune_running_round_stage_seconds')! < 60);
    assert.ok(metrics.get('attune_postgres_connections{application="attune edge"}')! > 0);
    for (const fail of [proxy.refuse, proxy.blackhole]) {
      await fail();
      const without = await scrape(edge.url);
      assert.equal(without.get('attune_postgres_up'), 0);
      assert.equal(without.has('attune_new_pairs'), false);
      assert.ok(without.get('process_cpu_seconds_total')! > 0);
    }
    await proxy.forward();
    await waitUntil(async () => (await scrape(edge.url)).get('attune_postgres_up') === 1, 60_000);
  } finally {
    await edge.close();
    await waiting.close();
    await trainer.close();
  }
});

test('metrics need no key and include the process and the queue limit', async () => {
  const settings = readSettings({ ATTUNE_HOME: server.home, PORT: '0', API_KEY: 'a-secret-key', MAX_QUEUE: '7' });
  const edge = await startEdge(settings, server.databaseUrl);
  try {
    const metrics = await scrape(edge.url);
    assert.equal(metrics.get('attune_queue_limit'), 7);
    assert.ok(metrics.get('process_cpu_seconds_total')! > 0);
    assert.ok(metrics.get('attune_event_loop_delay_p99_seconds')! >= 0);
  } finally {
    await edge.close();
  }
});
