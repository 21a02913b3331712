// REQUESTS_PER_MINUTE and TOKENS_PER_MINUTE of each caller, counted in this process's memory in windows of one minute, and
// reported in OpenAI's headers. Tokens are taken before a generation starts, as many as it may use, and the rest is given
// back at its end.

import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Settings } from '../shared/settings.ts';
import { tooMany } from './middleware/rate-limit.ts';
import type { RateLimits } from './ports.ts';

const WINDOW_SECONDS = 60;

/** Undefined if neither limit is set. */
export function openRateLimits({ REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE }: Settings): RateLimits | undefined {
  if (!REQUESTS_PER_MINUTE && !TOKENS_PER_MINUTE) return undefined;
  const requests = openLimiter(REQUESTS_PER_MINUTE);
  const tokens = openLimiter(TOKENS_PER_MINUTE);
  return {
    async countRequest({ id }) {
      if (requests) await take(requests, 'requests', id, 1);
    },
    async reserveTokens(id, needed) {
      if (!tokens) return async () => {};
      // A request that may use more than the whole limit needs a fresh window.
      const reserved = Math.min(needed, tokens.points);
      const { msBeforeNext } = await take(tokens, 'tokens', id, reserved);
      const endsAt = Date.now() + msBeforeNext;
      return async (used) => {
        if (Date.now() < endsAt) await tokens.penalty(id, used - reserved);
      };
    },
    async listHeaders({ id }) {
      return { ...(await toHeaders(requests, 'requests', id)), ...(await toHeaders(tokens, 'tokens', id)) };
    },
  };
}

function openLimiter(perMinute: number | undefined): RateLimiterMemory | null {
  return perMinute ? new RateLimiterMemory({ points: perMinute, duration: WINDOW_SECONDS }) : null;
}

/** Throws a 429 that says when the window ends. What was refused does not count. */
async function take(
  limiter: RateLimiterMemory,
  kind: 'requests' | 'tokens',
  id: string,
  points: number,
): Promise<RateLimiterRes> {
  try {
    return await limiter.consume(id, points);
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    await limiter.reward(id, points);
    throw tooMany(kind, refusal.msBeforeNext);
  }
}

async function toHeaders(
  limiter: RateLimiterMemory | null,
  kind: 'requests' | 'tokens',
  id: string,
): Promise<Record<string, string>> {
  if (!limiter) return {};
  const state = await limiter.get(id);
  return {
    [`x-ratelimit-limit-${kind}`]: String(limiter.points),
    [`x-ratelimit-remaining-${kind}`]: String(Math.max(0, limiter.points - (state?.consumedPoints ?? 0))),
    [`x-ratelimit-reset-${kind}`]: formatDuration(state?.msBeforeNext ?? 0),
  };
}

/** As OpenAI writes it: 12ms, 59s, 1m0s. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
