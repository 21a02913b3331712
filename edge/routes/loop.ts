// What happens now: what the loop is doing, once or as a stream, and what the policies served.

import { z } from '@hono/zod-openapi';
import { defineOperation } from '../http/operation.ts';
import { streamEvents } from '../http/sse.ts';
import { readTraffic } from '../loop/read-traffic.ts';
import { findRefusal, getCallerId, getReadableTenant } from '../middleware/auth.ts';
import { loopState, toLoopState } from './loop-response.ts';

const trafficMinute = z.object({
  at: z.number().openapi({ description: 'the beginning of the minute, or of the step' }),
  policy: z.string(),
  requests: z.int(),
  errors: z.int(),
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  first_token_seconds: z.number().nullable().openapi({ description: 'geometric mean' }),
  seconds: z.number().nullable().openapi({ description: 'mean of whole completions' }),
});

export const getTraffic = defineOperation({
  scopes: ['read'],
  summary: 'What each policy served, by minute',
  query: z.strictObject({
    minutes: z.coerce.number().int().min(1).max(43_200).default(60).openapi({ description: 'until now' }),
  }),
  response: z.object({
    object: z.literal('traffic'),
    step_seconds: z.number().openapi({ description: '60, or more where there would be more than 720 steps' }),
    data: z.array(trafficMinute),
  }),
  async handler({ ports: { db }, query: { minutes } }) {
    const { stepSeconds, steps } = await readTraffic(db, minutes);
    return { object: 'traffic', step_seconds: stepSeconds, data: steps };
  },
});

/** The time comes last: it is no change of the state. */
const toAnswer = (state: object) => ({ ...state, at: Date.now() / 1000 });

export const getLoop = defineOperation({
  scopes: ['read'],
  summary: 'What the loop is doing now',
  response: loopState,
  handler: async ({ ports: { loop }, context }) => toAnswer(toLoopState(await loop.read(), getReadableTenant(context))),
});

export const streamLoop = defineOperation({
  scopes: ['read'],
  summary: 'What the loop is doing, as server-sent events: now, and whenever it changes, at most once a second',
  response: z.object({ data: z.string().openapi({ description: 'as JSON, what GET /v1/loop answers' }) }),
  responseType: 'text/event-stream',
  async handler({ ports, context }) {
    const { loop, concurrencyLimits } = ports;
    // The body of a HEAD response is never read, so its stream would never be cancelled.
    if (context.req.method === 'HEAD') return new Response(null, { headers: { 'content-type': 'text/event-stream' } });
    const leave = concurrencyLimits?.eventStreams.enter(getCallerId(context));
    const abort = new AbortController();
    const follower = {
      readable: getReadableTenant(context),
      render: toLoopState,
      findRefusal: () => findRefusal(ports, context),
      signal: abort.signal,
    };
    return streamEvents(
      abort,
      (send) => loop.follow(follower, (state) => send(toAnswer(state), { isLatest: true })).finally(() => leave?.()),
      context.get('record'),
    );
  },
});
