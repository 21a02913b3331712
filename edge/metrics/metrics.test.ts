import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openMetrics } from './metrics.ts';

const step = {
  decodedSequences: 4,
  prefilledTokens: 10,
  cachedTokens: 6,
  running: 4,
  waiting: 2,
  kvBytes: 250,
  kvBudgetBytes: 1000,
  seconds: 0.01,
};

async function open() {
  const metrics = openMetrics({ maxQueue: 256 });
  after(metrics.close);
  const read = async () => {
    const { body } = await metrics.render();
    const lines = body.split('\n').filter((line) => line && !line.startsWith('#'));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
  };
  return { ...metrics, read };
}

test('reports engine metrics under vLLM’s names', async () => {
  const { instrumentation, read } = await open();
  instrumentation.recordStep({ policyId: 'pol_a', ...step });
  instrumentation.recordStep({
    policyId: 'pol_a',
    ...step,
    decodedSequences: 5,
    prefilledTokens: 0,
    cachedTokens: 0,
    running: 5,
    waiting: 0,
  });
  instrumentation.recordQueueTime('pol_a', 0.02);
  instrumentation.recordFirstToken('pol_a', 0.03);
  instrumentation.recordNextToken('pol_a', 0.004);
  instrumentation.recordFinish('pol_a', { reason: 'length', promptTokens: 16, generatedTokens: 2, seconds: 0.034 });
  instrumentation.recordFinish('pol_a', { reason: 'cancelled', promptTokens: 16, generatedTokens: 0, seconds: 1 });
  const metrics = await read();
  const of = (name: string, labels = '') => metrics.get(`vllm:${name}{model_name="pol_a"${labels}}`);
  assert.equal(of('num_requests_running'), 5);
  assert.equal(of('num_requests_waiting'), 0);
  assert.equal(of('kv_cache_usage_perc'), 0.25);
  assert.equal(of('prefix_cache_queries_total'), 16);
  assert.equal(of('prefix_cache_hits_total'), 6);
  assert.equal(of('prompt_tokens_total'), 16);
  assert.equal(of('generation_tokens_total'), 2);
  assert.equal(of('request_success_total', ',finished_reason="length"'), 1);
  assert.equal(of('request_success_total', ',finished_reason="abort"'), 1);
  assert.equal(of('iteration_tokens_total_sum'), 19);
  assert.equal(of('request_queue_time_seconds_sum'), 0.02);
  assert.equal(of('time_to_first_token_seconds_sum'), 0.03);
  assert.equal(of('inter_token_latency_seconds_sum'), 0.004);
  assert.equal(of('e2e_request_latency_seconds_count'), 2);
  assert.equal(metrics.get('attune_queue_limit'), 256);
  assert.ok(metrics.get('attune_tokens_per_second{model_name="pol_a"}')! > 0);
});

test('reports exactly one active policy, and counts swaps and failed loads', async () => {
  const { instrumentation, read } = await open();
  instrumentation.recordSwap('pol_a', 0.2);
  instrumentation.recordSwap('pol_b', 0.3);
  instrumentation.recordRejectedPolicy('pol_c');
  const metrics = await read();
  assert.deepEqual(
    [...metrics.keys()].filter((key) => key.startsWith('attune_active_policy_info')),
    ['attune_active_policy_info{policy="pol_b"}'],
  );
  assert.equal(metrics.get('attune_swaps_total'), 2);
  assert.equal(metrics.get('attune_refused_policies_total'), 1);
  assert.equal(metrics.get('attune_swap_duration_seconds_count'), 2);
});

test('keeps the metrics of the active policy and of the last few others', async () => {
  const { instrumentation, read } = await open();
  instrumentation.recordSwap('pol_0', 0.1);
  for (let at = 0; at < 100; at++) {
    instrumentation.recordStep({ policyId: `pol_${at}`, ...step });
    instrumentation.recordFirstToken(`pol_${at}`, 0.1);
    instrumentation.recordFinish(`pol_${at}`, { reason: 'stop', promptTokens: 1, generatedTokens: 1, seconds: 1 });
  }
  const metrics = await read();
  const policies = new Set([...metrics.keys()].flatMap((key) => /model_name="(\w+)"/.exec(key)?.[1] ?? []));
  assert.deepEqual([...policies].sort(), ['pol_0', 'pol_97', 'pol_98', 'pol_99']);
});

test('counts responses by route and status, and reports process metrics', async () => {
  const { observeResponse, read } = await open();
  observeResponse({ method: 'GET', route: '/v1/policies/:id', status: 404, seconds: 0.002 });
  const metrics = await read();
  const labels = '{method="GET",route="/v1/policies/:id",status="404"}';
  assert.equal(metrics.get(`attune_http_request_duration_seconds_count${labels}`), 1);
  assert.ok(metrics.get('attune_event_loop_delay_p99_seconds')! >= 0);
  assert.ok(metrics.get('process_resident_memory_bytes')! > 0);
});
