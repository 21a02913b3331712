// The metrics of GET /metrics on Node, for Prometheus: the engine's (from its instrumentation), the API's responses, and
// the process's. Names are vLLM's where it has the metric, so that its dashboards work; the others begin with `attune_`.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Instrumentation } from '../engine/instrumentation.ts';
import type { Metrics } from '../ports.ts';
import { ACTIVE_POLICY_INFO, HTTP_DURATION } from './definitions.ts';
import { Throughput } from './throughput.ts';

/** Bounds the number of label values: the metrics of the least recently used policies are removed. */
const MAX_POLICIES = 4;
const LOOP_SAMPLE_INTERVAL_MS = 5;

/** vLLM's label values for finished_reason. */
const REASONS = { stop: 'stop', length: 'length', cancelled: 'abort', error: 'error' } as const;

const REQUEST_BUCKETS = HTTP_DURATION.buckets;
const TOKEN_GAP_BUCKETS = REQUEST_BUCKETS.filter((seconds) => seconds <= 10);
const TOKEN_COUNT_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];

export type OpenMetrics = Metrics & {
  instrumentation: Instrumentation;
  /** Of all policies. */
  countGenerations(): Promise<{ running: number; waiting: number; limit: number }>;
  close(): void;
};

/** `renderTraining`: the metrics that are in Postgres, as text. */
export function openMetrics(limits: { maxQueue: number }, renderTraining = async () => ''): OpenMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = ['model_name'] as const;
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers, labelNames });
  const counter = (name: string, help: string) => new Counter({ name, help, registers, labelNames });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, registers, buckets, labelNames });

  const running = gauge('vllm:num_requests_running', 'Generations being decoded.');
  const waiting = gauge('vllm:num_requests_waiting', 'Generations in the queue.');
  const kvUsage = gauge('vllm:kv_cache_usage_perc', 'Fraction of KV_MEMORY in use.');
  const prefixQueries = counter('vllm:prefix_cache_queries_total', 'Prompt tokens looked up in the prefix cache.');
  const prefixHits = counter('vllm:prefix_cache_hits_total', 'Prompt tokens found in the prefix cache.');
  const promptTokens = counter('vllm:prompt_tokens_total', 'Prompt tokens, once per choice.');
  const generated = counter('vllm:generation_tokens_total', 'Generated tokens.');
  const iteration = histogram('vllm:iteration_tokens_total', 'Tokens per engine step.', TOKEN_COUNT_BUCKETS);
  const firstToken = histogram('vllm:time_to_first_token_seconds', 'From arrival to the first token.', REQUEST_BUCKETS);
  const tokenGap = histogram(
    'vllm:inter_token_latency_seconds',
    'Between two tokens of a generation.',
    TOKEN_GAP_BUCKETS,
  );
  const queued = histogram('vllm:request_queue_time_seconds', 'From arrival to the start of prefill.', REQUEST_BUCKETS);
  const endToEnd = histogram('vllm:e2e_request_latency_seconds', 'From arrival to the last token.', REQUEST_BUCKETS);
  const tokenRate = gauge('attune_tokens_per_second', 'Generated tokens per second, over the last ten seconds.');
  const finished = new Counter({
    name: 'vllm:request_success_total',
    help: 'Finished generations by reason: stop, length, abort (client disconnected or timeout) or error.',
    registers,
    labelNames: ['model_name', 'finished_reason'],
  });
  const swaps = new Counter({ name: 'attune_swaps_total', help: 'Activations of a policy.', registers });
  const refused = new Counter({
    name: 'attune_refused_policies_total',
    help: 'Policies that failed to load.',
    registers,
  });
  const swapTime = new Histogram({
    name: 'attune_swap_duration_seconds',
    help: 'From the start of loading a policy to serving it.',
    registers,
    buckets: REQUEST_BUCKETS,
  });
  const activePolicy = new Gauge({ ...ACTIVE_POLICY_INFO, registers, labelNames: ['policy'] });
  const responses = new Histogram({ ...HTTP_DURATION, registers, labelNames: ['method', 'route', 'status'] });
  new Gauge({ name: 'attune_queue_limit', help: 'Maximum number of generations in the queue.', registers }).set(
    limits.maxQueue,
  );
  const loop = monitorEventLoopDelay({ resolution: LOOP_SAMPLE_INTERVAL_MS });
  loop.enable();
  new Gauge({
    name: 'attune_event_loop_delay_p99_seconds',
    help: 'The 99th percentile of the event loop delay since the last scrape.',
    registers,
    collect() {
      // The monitor's samples include its own interval.
      this.set(Math.max(0, loop.percentile(99) / 1e9 - LOOP_SAMPLE_INTERVAL_MS / 1e3));
      loop.reset();
    },
  });
  collectDefaultMetrics({ register: registry });

  const counts = [running, waiting, kvUsage, prefixQueries, prefixHits, promptTokens, generated, iteration];
  const perPolicy: { remove(labels: { model_name: string }): void }[] = counts;
  perPolicy.push(firstToken, tokenGap, queued, endToEnd, tokenRate);
  /** By policy, the most recently used last. */
  const throughputs = new Map<string, Throughput>();
  let activeId = '';
  const now = () => performance.now() / 1000;
  const labelsOf = (model_name: string) => {
    const throughput = throughputs.get(model_name) ?? new Throughput();
    throughputs.delete(model_name);
    throughputs.set(model_name, throughput);
    if (throughputs.size > MAX_POLICIES) removePolicy([...throughputs.keys()].find((id) => id !== activeId)!);
    return { model_name };
  };
  const removePolicy = (model_name: string) => {
    throughputs.delete(model_name);
    for (const metric of perPolicy) metric.remove({ model_name });
    for (const finished_reason of Object.values(REASONS)) finished.remove({ model_name, finished_reason });
  };
  const countToken = (policyId: string, labels: { model_name: string }) => {
    generated.inc(labels);
    throughputs.get(policyId)!.add(now(), 1);
  };

  const instrumentation: Instrumentation = {
    recordStep(report) {
      const labels = labelsOf(report.policyId);
      running.set(labels, report.running);
      waiting.set(labels, report.waiting);
      kvUsage.set(labels, report.kvBytes / report.kvBudgetBytes);
      prefixQueries.inc(labels, report.prefilledTokens + report.cachedTokens);
      prefixHits.inc(labels, report.cachedTokens);
      promptTokens.inc(labels, report.prefilledTokens + report.cachedTokens);
      iteration.observe(labels, report.decodedSequences + report.prefilledTokens);
    },
    recordQueueTime: (id, waited) => queued.observe(labelsOf(id), waited),
    recordFirstToken(id, seconds) {
      const labels = labelsOf(id);
      firstToken.observe(labels, seconds);
      countToken(id, labels);
    },
    recordNextToken(id, seconds) {
      const labels = labelsOf(id);
      tokenGap.observe(labels, seconds);
      countToken(id, labels);
    },
    recordFinish(id, { reason, seconds }) {
      const labels = labelsOf(id);
      endToEnd.observe(labels, seconds);
      finished.inc({ ...labels, finished_reason: REASONS[reason] });
    },
    recordSwap(id, seconds) {
      swaps.inc();
      swapTime.observe(seconds);
      activeId = id;
      activePolicy.reset();
      activePolicy.set({ policy: id }, 1);
    },
    recordRejectedPolicy: () => refused.inc(),
  };

  return {
    instrumentation,
    observeResponse: ({ method, route, status, seconds }) => responses.observe({ method, route, status }, seconds),
    async render() {
      for (const [model_name, throughput] of throughputs) tokenRate.set({ model_name }, throughput.perSecond(now()));
      const [own, training] = await Promise.all([registry.metrics(), renderTraining()]);
      return { body: own + training, type: registry.contentType };
    },
    async countGenerations() {
      const [runningNow, waitingNow] = await Promise.all([sum(running), sum(waiting)]);
      return { running: runningNow, waiting: waitingNow, limit: limits.maxQueue };
    },
    close: () => loop.disable(),
  };
}

async function sum(gauge: { get: Gauge['get'] }): Promise<number> {
  const { values } = await gauge.get();
  return values.reduce((total, { value }) => total + value, 0);
}
