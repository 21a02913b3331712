// The rate limit of [[ratelimits]] in wrangler.toml: requests of each key or, without keys, of each address. Cloudflare
// counts them for all isolates of a location, and reports only whether a request is within the limit.

import type { RateLimit } from '@cloudflare/workers-types';
import type { Context } from 'hono';
import { log } from '../../shared/log.ts';
import { ANONYMOUS } from '../middleware/auth.ts';
import { tooMany } from '../middleware/rate-limit.ts';
import type { RateLimits } from '../ports.ts';

/** The binding does not report when its window ends; with a window of one minute, this is soon enough. */
const RETRY_AFTER_MS = 10_000;

export function openWorkerRateLimits(binding: RateLimit): RateLimits {
  return {
    async countRequest({ id, address }) {
      // Fails open.
      const { success } = await binding.limit({ key: id === ANONYMOUS ? address : id }).catch((error: Error) => {
        log.error('rate limit', 'RATE_LIMIT failed, the request is admitted', error);
        return { success: true };
      });
      if (!success) throw tooMany('requests', null, RETRY_AFTER_MS);
    },
    reserveTokens: async () => async () => {},
    listHeaders: async () => ({}),
  };
}

/** The client's address, which Cloudflare sets and no client can. */
export function getCloudflareAddress(context: Context): string {
  return context.req.header('cf-connecting-ip') ?? 'unknown';
}
