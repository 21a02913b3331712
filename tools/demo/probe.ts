// A visitor who asks for a few words twice a second while a round trains and swaps: does every question get an answer,
// and from which policy?

import type { Client, Completion } from './client.ts';

export type Answer = { at: number; seconds: number; policy: string };
export type Visit = { answers: Answer[]; failures: string[] };

const EVERY = 500;

/** Visits until stopped. Times are in seconds since the visit began. */
export function startVisit(client: Client): { stop(): Promise<Visit> } {
  const began = performance.now();
  const visit: Visit = { answers: [], failures: [] };
  let stopped = false;
  const loop = (async () => {
    while (!stopped) {
      const asked = performance.now();
      try {
        const body = { prompt: 'Once upon a time', max_tokens: 8, store: false };
        const { model } = await client.post<Completion>('/v1/completions', body);
        const seconds = (performance.now() - asked) / 1000;
        visit.answers.push({ at: (asked - began) / 1000, seconds, policy: model });
      } catch (error) {
        visit.failures.push((error as Error).message);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, EVERY - (performance.now() - asked))));
    }
  })();
  return {
    async stop() {
      stopped = true;
      await loop;
      return visit;
    },
  };
}
