// GET /metrics against the responses of a running server.

import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { readSettings } from '../shared/settings.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
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
