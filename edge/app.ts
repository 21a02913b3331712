// The API as a Hono app: its operations by method and path, and the middleware in front of them. It imports no node:,
// onnxruntime or Cloudflare module; those come in through its ports, so that the same app runs on Node and on Workers.

import { OpenAPIHono } from '@hono/zod-openapi';
import type { Env, Hono, MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { etag, RETAINED_304_HEADERS } from 'hono/etag';
import packageJson from '../package.json' with { type: 'json' };
import { SIGN_IN_PATH } from '../shared/access/invitations.ts';
import { AttuneError } from '../shared/error.ts';
import type { Settings } from '../shared/settings.ts';
import { toErrorResponse } from './http/errors.ts';
import { addOperation, type Operation, type Route, toPattern } from './http/operation.ts';
import {
  CONSOLE_PATH,
  EMBED_PATH,
  RATE_PATH,
  serveConsole,
  serveEmbed,
  servePageFile,
  serveRate,
} from './http/pages.ts';
import { serveDocs, serveDocsFile } from './http/swagger-ui.ts';
import { authenticate, requireScope, seeTenant } from './middleware/auth.ts';
import { limitBody } from './middleware/body-limit.ts';
import { guardAgainstPages, guardLoopback, guardSignIn } from './middleware/browser-guard.ts';
import { answerPreflight, EXPOSED_HEADERS } from './middleware/embed-cors.ts';
import { replayRequest } from './middleware/idempotency.ts';
import { observeRequests } from './middleware/observe-request.ts';
import { placeRequest } from './middleware/placement.ts';
import { limitRate } from './middleware/rate-limit.ts';
import { assignRequestId, sendRequestId } from './middleware/request-id.ts';
import { sendSecurityHeaders } from './middleware/security-headers.ts';
import { getTimeLimit, limitTime } from './middleware/time-limit.ts';
import type { Ports } from './ports.ts';
import { exportAuditEvents, listAuditEvents } from './routes/audit.ts';
import { cancelCanary, getCanary, getCanaryEvidence, listCanaries, startCanary } from './routes/canaries.ts';
import { createChatCompletion } from './routes/chat.ts';
import { exportComparisons, getDatasheet } from './routes/comparison-files.ts';
import { createComparison, getComparison, listComparisons } from './routes/comparisons.ts';
import { createCompletion } from './routes/completions.ts';
import { createToken } from './routes/embed-tokens.ts';
import { createErasure, deleteChatCompletion, deleteComparison, getErasure, listErasures } from './routes/erasures.ts';
import { createFeedback, deleteFeedback, getFeedback, listFeedback } from './routes/feedback.ts';
import { getHealth, getMetrics, getStatus } from './routes/health.ts';
import { createKey, getKey, listKeys, revokeKey, rotateKey } from './routes/keys.ts';
import { getLeaderboard } from './routes/leaderboard.ts';
import { getLoop, getTraffic, streamLoop } from './routes/loop.ts';
import { getModel, listModels } from './routes/models.ts';
import { getLineage, getPolicy, listPolicies, promotePolicy, rollBackPolicy } from './routes/policies.ts';
import { countPreferences, exportPreferences, importPreferences } from './routes/preference-files.ts';
import { createPreference, getPreference, listPreferences } from './routes/preferences.ts';
import {
  drawQueueItems,
  exportQueueItems,
  importQueueItems,
  listQueueItems,
  requeueItems,
} from './routes/queue-items.ts';
import { getQueueQuality } from './routes/queue-quality.ts';
import { getProgress, pauseQueueRater, resumeQueueRater } from './routes/queue-raters.ts';
import { createQueue, getQueue, listQueues, updateQueue } from './routes/queues.ts';
import { createInvitation, createRater, getRater, listRaters, updateRater } from './routes/raters.ts';
import {
  getReservation,
  prolongReservation,
  reserveNext,
  undoReservationVote,
  voteOnReservation,
} from './routes/reservations.ts';
import { changePreference, deletePreference } from './routes/revised-votes.ts';
import { getReward, listRewards } from './routes/rewards.ts';
import {
  cancelRound,
  createRound,
  getRound,
  listRoundMetrics,
  listRounds,
  streamRoundEvents,
} from './routes/rounds.ts';
import { createScore } from './routes/score.ts';
import { createSession, endSession, getSession } from './routes/session.ts';
import { listSettings } from './routes/settings.ts';
import { showSignIn, showSignInFailure, submitSignIn } from './routes/sign-in.ts';
import { getChatCompletion, listChatCompletions } from './routes/stored-chats.ts';
import { getWebhookEvent, listWebhookEvents, resendWebhookEvent } from './routes/webhook-events.ts';
import { COOKIE_NAME } from './session.ts';

// Matched in this order: a path with a parameter comes after the fixed paths that it would also match.
const OPERATIONS: Record<string, Record<`${'POST  ' | 'GET   ' | 'DELETE'} /${string}`, Operation>> = {
  Generate: {
    'POST   /v1/chat/completions': createChatCompletion,
    'GET    /v1/chat/completions': listChatCompletions,
    'GET    /v1/chat/completions/{id}': getChatCompletion,
    'DELETE /v1/chat/completions/{id}': deleteChatCompletion,
    'POST   /v1/completions': createCompletion,
    'POST   /v1/score': createScore,
    'GET    /v1/models': listModels,
    'GET    /v1/models/{model}': getModel,
  },
  Collect: {
    'POST   /v1/comparisons': createComparison,
    'GET    /v1/comparisons': listComparisons,
    'GET    /v1/comparisons/export': exportComparisons,
    'GET    /v1/comparisons/datasheet': getDatasheet,
    'GET    /v1/comparisons/{id}': getComparison,
    'DELETE /v1/comparisons/{id}': deleteComparison,
    'POST   /v1/preferences/import': importPreferences,
    'GET    /v1/preferences/export': exportPreferences,
    'GET    /v1/preferences/stats': countPreferences,
    'POST   /v1/preferences': createPreference,
    'GET    /v1/preferences': listPreferences,
    'GET    /v1/preferences/{id}': getPreference,
    'POST   /v1/preferences/{id}': changePreference,
    'DELETE /v1/preferences/{id}': deletePreference,
    'POST   /v1/queues': createQueue,
    'GET    /v1/queues': listQueues,
    'GET    /v1/queues/{id}': getQueue,
    'POST   /v1/queues/{id}': updateQueue,
    'POST   /v1/queues/{id}/items': importQueueItems,
    'GET    /v1/queues/{id}/items': listQueueItems,
    'POST   /v1/queues/{id}/draw': drawQueueItems,
    'POST   /v1/queues/{id}/requeue': requeueItems,
    'GET    /v1/queues/{id}/export': exportQueueItems,
    'POST   /v1/queues/{id}/next': reserveNext,
    'GET    /v1/queues/{id}/progress': getProgress,
    'POST   /v1/queues/{id}/raters/{rater}/pause': pauseQueueRater,
    'POST   /v1/queues/{id}/raters/{rater}/resume': resumeQueueRater,
    'GET    /v1/reservations/{id}': getReservation,
    'POST   /v1/reservations/{id}/heartbeat': prolongReservation,
    'POST   /v1/reservations/{id}/vote': voteOnReservation,
    'DELETE /v1/reservations/{id}/vote': undoReservationVote,
    'POST   /v1/feedback': createFeedback,
    'GET    /v1/feedback': listFeedback,
    'GET    /v1/feedback/{id}': getFeedback,
    'DELETE /v1/feedback/{id}': deleteFeedback,
    'POST   /v1/embed-tokens': createToken,
    'GET    /v1/queues/{id}/quality': getQueueQuality,
  },
  Learn: {
    'GET    /v1/leaderboard': getLeaderboard,
    'POST   /v1/rounds': createRound,
    'GET    /v1/rounds': listRounds,
    'GET    /v1/rounds/{id}': getRound,
    'POST   /v1/rounds/{id}/cancel': cancelRound,
    'GET    /v1/rounds/{id}/metrics': listRoundMetrics,
    'GET    /v1/rounds/{id}/events': streamRoundEvents,
    'GET    /v1/policies': listPolicies,
    'GET    /v1/policies/{id}': getPolicy,
    'GET    /v1/policies/{id}/lineage': getLineage,
    'POST   /v1/policies/{id}/promote': promotePolicy,
    'POST   /v1/policies/rollback': rollBackPolicy,
    'POST   /v1/policies/{id}/canary': startCanary,
    'GET    /v1/canaries': listCanaries,
    'GET    /v1/canaries/{id}': getCanary,
    'GET    /v1/canaries/{id}/evidence': getCanaryEvidence,
    'POST   /v1/canaries/{id}/cancel': cancelCanary,
    'GET    /v1/rewards': listRewards,
    'GET    /v1/rewards/{id}': getReward,
  },
  Administer: {
    'POST   /v1/keys': createKey,
    'GET    /v1/keys': listKeys,
    'GET    /v1/keys/{id}': getKey,
    'POST   /v1/keys/{id}/rotate': rotateKey,
    'DELETE /v1/keys/{id}': revokeKey,
    'POST   /v1/erasures': createErasure,
    'GET    /v1/erasures': listErasures,
    'GET    /v1/erasures/{id}': getErasure,
    'GET    /v1/webhook-events': listWebhookEvents,
    'GET    /v1/webhook-events/{id}': getWebhookEvent,
    'POST   /v1/webhook-events/{id}/resend': resendWebhookEvent,
    'GET    /v1/settings': listSettings,
    'GET    /v1/audit': listAuditEvents,
    'GET    /v1/audit/export': exportAuditEvents,
    'POST   /v1/raters': createRater,
    'GET    /v1/raters': listRaters,
    'GET    /v1/raters/{id}': getRater,
    'POST   /v1/raters/{id}': updateRater,
    'POST   /v1/raters/{id}/invitations': createInvitation,
    'POST   /v1/session': createSession,
    'GET    /v1/session': getSession,
    'DELETE /v1/session': endSession,
    [`GET    ${SIGN_IN_PATH}`]: showSignIn,
    [`POST   ${SIGN_IN_PATH}`]: submitSignIn,
  },
  Operate: {
    'GET    /v1/loop': getLoop,
    'GET    /v1/loop/events': streamLoop,
    'GET    /v1/traffic': getTraffic,
    'GET    /status': getStatus,
    'GET    /health': getHealth,
    'GET    /metrics': getMetrics,
    'GET    /docs': serveDocs,
    'GET    /docs/{file}': serveDocsFile,
    'GET    /': serveConsole,
    [`GET    ${CONSOLE_PATH}`]: serveConsole,
    [`GET    ${CONSOLE_PATH}/{view}`]: serveConsole,
    [`GET    ${CONSOLE_PATH}/{view}/{id}`]: serveConsole,
    [`GET    ${RATE_PATH}`]: serveRate,
    [`GET    ${RATE_PATH}/{view}`]: serveRate,
    'GET    /assets/{file}': servePageFile,
    [`GET    ${EMBED_PATH}`]: serveEmbed,
  },
};

const DOCUMENT_PATH = '/openapi.json';

/** Answered whatever the Host, because orchestrators and proxies on this machine probe by names of their own. A page that read
 * them would learn that the server runs, and the id of the active policy. */
const PROBES: readonly string[] = ['/status', '/health'];

/**
 * A browser takes the headers of a 304 in place of those that it has: a page's policy must be among them, and who may load
 * a script.
 */
const CONFIRMED_HEADERS = ['content-security-policy', 'access-control-allow-origin', 'cross-origin-resource-policy'];
const confirmFiles = etag({ retainedHeaders: [...RETAINED_304_HEADERS, ...CONFIRMED_HEADERS] });

const INFO = {
  title: 'Attune',
  version: packageJson.version,
  description:
    'Serves a small language model, collects preferences on its responses, and trains on them while it serves.',
};

/** `router`: default: Hono's own, which is compiled at the first request and fastest after it. */
export function createApp(ports: Ports, router?: Hono<Env>['router']): OpenAPIHono {
  const { settings, rateLimits } = ports;
  const app = new OpenAPIHono(router ? { router } : {});
  app.onError((error, context) => toErrorResponse(context, error));
  app.notFound((context) => toErrorResponse(context, unknownRoute(context.req)));

  app.use(assignRequestId, sendRequestId, sendSecurityHeaders);
  app.use(observeRequests(ports));
  const origins = settings.CORS_ORIGINS;
  const routes = listRoutes(settings);
  for (const { path, operation } of routes)
    if (operation.takesEmbedTokens) app.on('OPTIONS', toPattern(path), answerPreflight(origins));
  // Before the key is checked: a browser asks first whether it may send one.
  if (origins) app.use('/v1/*', cors({ origin: origins, exposeHeaders: EXPOSED_HEADERS }));
  app.use(SIGN_IN_PATH, showSignInFailure);
  for (const path of [
    '/',
    CONSOLE_PATH,
    `${CONSOLE_PATH}/*`,
    RATE_PATH,
    `${RATE_PATH}/*`,
    '/assets/*',
    '/docs/*',
    EMBED_PATH,
  ])
    app.use(path, confirmFiles);
  const identify: MiddlewareHandler[] = [authenticate(ports), guardAgainstPages(origins), seeTenant(ports.tenants)];
  if (rateLimits) identify.push(limitRate(rateLimits, ports.getAddress));
  const guardPublic = settings.API_KEY ? [] : [guardLoopback];
  for (const route of routes) {
    const { rawBody, needsPolicy, idempotent, scopes, takesEmbedTokens } = route.operation;
    const middleware: MiddlewareHandler[] = scopes ? [...identify, requireScope(scopes, takesEmbedTokens)] : [];
    if (!scopes && !PROBES.includes(route.path)) middleware.push(...guardPublic);
    if (!scopes && route.method !== 'GET') middleware.push(guardSignIn);
    if (route.method === 'POST' && !rawBody) middleware.push(limitBody(settings.MAX_BODY_BYTES));
    // An import takes as long as its body; each of its statements is bounded like any other.
    if (!rawBody) middleware.push(limitTime(getTimeLimit(needsPolicy !== undefined, settings)));
    if (idempotent) middleware.push(replayRequest(ports, route));
    if (needsPolicy) middleware.push(placeRequest(ports, needsPolicy));
    addOperation(app, route, middleware, ports);
  }
  // Without a key not even which routes there are.
  app.use('/v1/*', ...identify);

  const guardDocument = settings.PUBLIC_ENDPOINTS.includes('docs')
    ? guardPublic
    : [...identify, requireScope(['read'])];
  app.use(DOCUMENT_PATH, ...guardDocument);
  const apiKey = app.openAPIRegistry.registerComponent('securitySchemes', 'key', { type: 'http', scheme: 'bearer' });
  const cookie = app.openAPIRegistry.registerComponent('securitySchemes', 'session', {
    type: 'apiKey',
    in: 'cookie',
    name: COOKIE_NAME,
  });
  const security = settings.API_KEY ? [{ [apiKey.name]: [] }, { [cookie.name]: [] }] : [];
  app.doc31(DOCUMENT_PATH, { openapi: '3.1.0', info: INFO, security });
  return app;
}

function listRoutes({ PUBLIC_ENDPOINTS }: Settings): Route[] {
  return Object.entries(OPERATIONS).flatMap(([tag, operations]) =>
    Object.entries(operations).map(([route, declared]) => {
      const [method, path] = route.split(/ +/) as [Route['method'], string];
      const { publicAs } = declared;
      const operation = publicAs && PUBLIC_ENDPOINTS.includes(publicAs) ? { ...declared, scopes: null } : declared;
      return { method, path, tag, operation };
    }),
  );
}

function unknownRoute({ method, path }: { method: string; path: string }): AttuneError {
  return new AttuneError(`unknown route ${method} ${path}; GET /docs lists the routes`, {
    status: 404,
    code: 'not_found',
  });
}
