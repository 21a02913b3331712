// A background client that requests a short completion twice a second while a round trains and swaps: it records latency,
// failures and the policy of each response.

import type { Client, Completion } from './client.ts';

/** `at` and `seconds`: start, since the probe started, and duration of the request. */
export type ProbeResponse = { at: number; seconds: number; policy: string };
export type ProbeResult = { responses: ProbeResponse[]; failures: string[] };

const PROBE_INTERVAL_MS = 500;

export function startProbe(client: Client): { stop(): Promise<ProbeResult> } {
  const started = performance.now();
  const result: ProbeResult = { responses: [], failures: [] };
  let isStopped = false;
  const loop = (async () => {
    while (!isStopped) {
      const sent = performance.now();
      try {
        const body = { prompt: 'Once upon a time', max_tokens: 8, store: false };
        const { model } = await client.post<Completion>('/v1/completions', body);
        const seconds = (performance.now() - sent) / 1000;
        result.responses.push({ at: (sent - started) / 1000, seconds, policy: model });
      } catch (error) {
        result.failures.push((error as Error).message);
      }
      const delayMs = Math.max(0, PROBE_INTERVAL_MS - (performance.now() - sent));
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await loop;
      return result;
    },
  };
}
