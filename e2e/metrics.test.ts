// GET /metrics of a whole Attune: what it says is what happened.

import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { readSettings } from '../shared/settings.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { setStage } from '../testing/edge-server.ts';

const stage = await setStage();
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The numbers by name and labels. */
async function scrape(url = stage.edge.url): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const told = new Map<string, number>();
  for (const line of (await response.text()).split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line) ?? assert.fail(line);
    told.set(name!, Number(value));
  }
  return told;
}

async function until(look: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await look()) return;
    await sleep(25);
  }
  assert.fail('it never came');
}

const messages = [
  { role: 'system', content: 'Tell stories about the sea and its people, one after another, in plain words.' },
];

test('tokens, requests and latencies add up to what the answers said', async () => {
  const usage = { prompt: 0, completion: 0 };
  const reasons: Record<string, number> = {};
  for (let seed = 0; seed < 4; seed++) {
    const json = { messages: [...messages, { role: 'user', content: `Story ${seed}` }], n: 2, max_tokens: 6, seed };
    const { body } = await stage.request('/v1/chat/completions', { json });
    usage.prompt += body.usage.prompt_tokens;
    usage.completion += body.usage.completion_tokens;
    for (const choice of body.choices) reasons[choice.finish_reason] = (reasons[choice.finish_reason] ?? 0) + 1;
  }
  const policy = `model_name="${stage.policyId}"`;
  await until(async () => (await scrape()).get(`vllm:num_requests_running{${policy}}`) === 0);
  const told = await scrape();
  const of = (name: string, labels = '') => told.get(`vllm:${name}{${policy}${labels}}`);
  // As vLLM counts them: each of the two choices has the whole prompt.
  assert.equal(of('prompt_tokens_total'), 2 * usage.prompt);
  assert.equal(of('generation_tokens_total'), usage.completion);
  for (const [reason, count] of Object.entries(reasons))
    assert.equal(of('request_success_total', `,finished_reason="${reason}"`), count);
  assert.equal(of('e2e_request_latency_seconds_count'), 8);
  assert.equal(of('num_requests_waiting'), 0);
  for (const name of ['time_to_first_token_seconds', 'inter_token_latency_seconds', 'request_queue_time_seconds'])
    assert.ok(of(`${name}_count`)! > 0, name);
  assert.ok(of('e2e_request_latency_seconds_sum')! >= of('time_to_first_token_seconds_sum')! / 2);
  assert.ok(told.get(`attune_tokens_per_second{${policy}}`)! > 0);
  // The prompt was computed for its first choice alone, and the system message once in all.
  assert.equal(of('prefix_cache_queries_total'), 2 * usage.prompt);
  assert.ok(of('prefix_cache_hits_total')! > 1.5 * usage.prompt);
  assert.ok(of('kv_cache_usage_perc')! > 0 && of('kv_cache_usage_perc')! < 1);
});

test('a swap changes the active policy, and a refused one is counted', async () => {
  const other = await stage.importTiny(2);
  await activatePolicy(stage.connection.db, other, 'test');
  await until(async () => (await scrape()).get(`attune_active_policy_info{policy="${other}"}`) === 1);
  const told = await scrape();
  assert.equal([...told.keys()].filter((name) => name.startsWith('attune_active_policy_info')).length, 1);
  assert.equal(told.get('attune_swaps_total'), 2);

  const damaged = await stage.importTiny(3);
  await truncate(path.join(stage.home, 'policies', damaged, 'onnx', 'model.onnx_data'), 100);
  await activatePolicy(stage.connection.db, damaged, 'test');
  await until(async () => (await scrape()).get('attune_refused_policies_total')! > 0);
  assert.equal((await scrape()).get(`attune_active_policy_info{policy="${other}"}`), 1);
});

test('metrics need no key, and tell of the process and of the queue’s bound', async () => {
  const settings = readSettings({ ATTUNE_HOME: stage.home, PORT: '0', API_KEY: 'a-secret-key', MAX_QUEUE: '7' });
  const edge = await startEdge(settings, stage.databaseUrl);
  try {
    const told = await scrape(edge.url);
    assert.equal(told.get('attune_queue_limit'), 7);
    assert.ok(told.get('process_cpu_seconds_total')! > 0);
    assert.ok(told.get('attune_event_loop_delay_p99_seconds')! >= 0);
  } finally {
    await edge.close();
  }
});
