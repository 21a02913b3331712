// The numbers behind GET /metrics, for Prometheus: what the engine reports through its meter, what the API answers, and
// how this process does. Names are vLLM's where it has them, so that dashboards made for it work; ours begin `attune_`.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Instrumentation } from '../engine/instrumentation.ts';
import type { Metrics } from '../ports.ts';
import { ACTIVE_POLICY_INFO, HTTP_DURATION } from './definitions.ts';
import { Throughput } from './throughput.ts';

/** The active policy and as many others as an engine keeps at hand; the numbers of older ones are dropped. */
const KEPT = 4;
/** Milliseconds between two looks at the event loop. */
const RESOLUTION = 5;

/** vLLM's words for how a request ended. */
const REASONS = { stop: 'stop', length: 'length', cancelled: 'abort', error: 'error' } as const;

const LONG = HTTP_DURATION.buckets;
const SHORT = LONG.filter((bound) => bound <= 10);
const TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];

export type OpenMetrics = Metrics & { instrumentation: Instrumentation; close(): void };

export function openMetrics(limits: { maxQueue: number }): OpenMetrics {
  const registry = new Registry();
  const registers = [registry];
  const ofPolicy = ['model_name'] as const;
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers, labelNames: ofPolicy });
  const counter = (name: string, help: string) => new Counter({ name, help, registers, labelNames: ofPolicy });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, registers, buckets, labelNames: ofPolicy });

  const running = gauge('vllm:num_requests_running', 'Generations that decode.');
  const waiting = gauge('vllm:num_requests_waiting', 'Generations that wait for their turn.');
  const kvUsage = gauge('vllm:kv_cache_usage_perc', 'Share of KV_MEMORY in use; 1 is all of it.');
  const prefixQueries = counter('vllm:prefix_cache_queries_total', 'Tokens of prompts looked for among those kept.');
  const prefixHits = counter('vllm:prefix_cache_hits_total', 'Tokens of prompts that were found and not computed.');
  const promptTokens = counter('vllm:prompt_tokens_total', 'Tokens of prompts, for each choice.');
  const generated = counter('vllm:generation_tokens_total', 'Tokens generated.');
  const iteration = histogram('vllm:iteration_tokens_total', 'Tokens in one turn of the engine.', TOKENS);
  const firstToken = histogram('vllm:time_to_first_token_seconds', 'From arrival to the first token.', LONG);
  const tokenGap = histogram('vllm:inter_token_latency_seconds', 'Between two tokens of a generation.', SHORT);
  const queued = histogram('vllm:request_queue_time_seconds', 'From arrival to the beginning of work.', LONG);
  const whole = histogram('vllm:e2e_request_latency_seconds', 'From arrival to the last token.', LONG);
  const tokenRate = gauge('attune_tokens_per_second', 'Tokens generated a second, over the last ten seconds.');
  const ended = new Counter({
    name: 'vllm:request_success_total',
    help: 'Generations that ended, by how: stop, length, abort (client gone or time up) or error.',
    registers,
    labelNames: ['model_name', 'finished_reason'],
  });
  const swaps = new Counter({ name: 'attune_swaps_total', help: 'Policies that became the active one.', registers });
  const refusals = new Counter({ name: 'attune_refused_policies_total', help: 'Policies refused.', registers });
  const swapTime = new Histogram({
    name: 'attune_swap_duration_seconds',
    help: 'From asking for a policy to serving it.',
    registers,
    buckets: LONG,
  });
  const active = new Gauge({
    ...ACTIVE_POLICY_INFO,
    registers,
    labelNames: ['policy'],
  });
  const answers = new Histogram({
    ...HTTP_DURATION,
    registers,
    labelNames: ['method', 'route', 'status'],
  });
  new Gauge({ name: 'attune_queue_limit', help: 'Generations that may wait.', registers }).set(limits.maxQueue);
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION });
  loop.enable();
  new Gauge({
    name: 'attune_event_loop_delay_p99_seconds',
    help: 'How late the event loop was at the 99th percentile since the last scrape.',
    registers,
    collect() {
      // The monitor counts its own pause between two looks.
      this.set(Math.max(0, loop.percentile(99) / 1e9 - RESOLUTION / 1e3));
      loop.reset();
    },
  });
  collectDefaultMetrics({ register: registry });

  const counts = [running, waiting, kvUsage, prefixQueries, prefixHits, promptTokens, generated, iteration];
  const perPolicy: { remove(labels: { model_name: string }): void }[] = counts;
  perPolicy.push(firstToken, tokenGap, queued, whole, tokenRate);
  /** What each policy decodes; the one heard of last comes last. */
  const rates = new Map<string, Throughput>();
  let activeId = '';
  const now = () => performance.now() / 1000;
  const hear = (model_name: string) => {
    const rate = rates.get(model_name) ?? new Throughput();
    rates.delete(model_name);
    rates.set(model_name, rate);
    if (rates.size > KEPT) forget([...rates.keys()].find((id) => id !== activeId)!);
    return { model_name };
  };
  const forget = (model_name: string) => {
    rates.delete(model_name);
    for (const metric of perPolicy) metric.remove({ model_name });
    for (const finished_reason of Object.values(REASONS)) ended.remove({ model_name, finished_reason });
  };
  const countToken = (policyId: string, labels: { model_name: string }) => {
    generated.inc(labels);
    rates.get(policyId)!.add(now(), 1);
  };

  const instrumentation: Instrumentation = {
    recordStep(report) {
      const labels = hear(report.policyId);
      running.set(labels, report.running);
      waiting.set(labels, report.waiting);
      kvUsage.set(labels, report.kvBytes / report.kvBudgetBytes);
      prefixQueries.inc(labels, report.prefilledTokens + report.cachedTokens);
      prefixHits.inc(labels, report.cachedTokens);
      promptTokens.inc(labels, report.prefilledTokens + report.cachedTokens);
      iteration.observe(labels, report.decodedSequences + report.prefilledTokens);
    },
    recordQueueTime: (id, waited) => queued.observe(hear(id), waited),
    recordFirstToken(id, seconds) {
      const labels = hear(id);
      firstToken.observe(labels, seconds);
      countToken(id, labels);
    },
    recordNextToken(id, seconds) {
      const labels = hear(id);
      tokenGap.observe(labels, seconds);
      countToken(id, labels);
    },
    recordFinish(id, { reason, seconds }) {
      const labels = hear(id);
      whole.observe(labels, seconds);
      ended.inc({ ...labels, finished_reason: REASONS[reason] });
    },
    recordSwap(id, seconds) {
      swaps.inc();
      swapTime.observe(seconds);
      activeId = id;
      active.reset();
      active.set({ policy: id }, 1);
    },
    recordRejectedPolicy: () => refusals.inc(),
  };

  return {
    instrumentation,
    observeResponse: ({ method, route, status, seconds }) => answers.observe({ method, route, status }, seconds),
    async render() {
      for (const [model_name, rate] of rates) tokenRate.set({ model_name }, rate.perSecond(now()));
      return { body: await registry.metrics(), type: registry.contentType };
    },
    close: () => loop.disable(),
  };
}
