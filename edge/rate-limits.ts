// REQUESTS_PER_MINUTE and TOKENS_PER_MINUTE of each caller, or its key's own limits, counted in this process's memory in windows of one minute, and
// reported in OpenAI's headers. Tokens are taken before a generation starts, as many as it may use, and the rest is given
// back at its end.

import { LRUCache } from 'lru-cache';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Settings } from '../shared/settings.ts';
import { tooMany } from './middleware/rate-limit.ts';
import type { RateLimits } from './ports.ts';

const WINDOW_SECONDS = 60;

export function openRateLimits({ REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE }: Settings): RateLimits {
  const requests = new CallerLimits(REQUESTS_PER_MINUTE);
  const tokens = new CallerLimits(TOKENS_PER_MINUTE);
  return {
    async countRequest({ id, limits }) {
      requests.set(id, limits?.requests);
      tokens.set(id, limits?.tokens);
      const limiter = requests.find(id);
      if (limiter) await take(limiter, 'requests', id, 1);
    },
    async reserveTokens(id, needed) {
      const limiter = tokens.find(id);
      if (!limiter) return async () => {};
      // A request that may use more than the whole limit needs a fresh window.
      const reserved = Math.min(needed, limiter.points);
      const { msBeforeNext } = await take(limiter, 'tokens', id, reserved);
      const endsAt = Date.now() + msBeforeNext;
      return async (used) => {
        if (Date.now() < endsAt) await limiter.penalty(id, used - reserved);
      };
    },
    async listHeaders({ id }) {
      return {
        ...(await toHeaders(requests.find(id), 'requests', id)),
        ...(await toHeaders(tokens.find(id), 'tokens', id)),
      };
    },
  };
}

/** Keys whose own limits are remembered between two of their requests. */
const MAX_OWN_LIMITS = 10_000;

/** One limit for all callers, or a caller's own. */
class CallerLimits {
  private readonly perMinute: number | undefined;
  private readonly own = new LRUCache<string, number>({ max: MAX_OWN_LIMITS });
  /** By points per minute. */
  private readonly limiters = new Map<number, RateLimiterMemory>();

  constructor(perMinute: number | undefined) {
    this.perMinute = perMinute;
  }

  set(id: string, perMinute: number | null | undefined): void {
    if (perMinute == null) this.own.delete(id);
    else this.own.set(id, perMinute);
  }

  /** Null if the caller has no limit. */
  find(id: string): RateLimiterMemory | null {
    const points = this.own.get(id) ?? this.perMinute;
    if (points === undefined) return null;
    const limiter = this.limiters.get(points) ?? new RateLimiterMemory({ points, duration: WINDOW_SECONDS });
    this.limiters.set(points, limiter);
    return limiter;
  }
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
    throw tooMany(kind, limiter.points, refusal.msBeforeNext);
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
