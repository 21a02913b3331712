// The API as a Hono app. It imports no node:, onnxruntime or Cloudflare module: those come in through its ports.

import { OpenAPIHono } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { requestId } from 'hono/request-id';
import { routePath } from 'hono/route';
import { AttuneError } from '../shared/error.ts';
import { newId } from '../shared/id.ts';
import { toErrorResponse } from './http/errors.ts';
import { addDocs } from './http/swagger-ui.ts';
import { requireApiKey } from './middleware/auth.ts';
import { limitBody } from './middleware/body-limit.ts';
import { placeOperations } from './middleware/placement.ts';
import { limitRate } from './middleware/rate-limit.ts';
import type { Metrics, Ports } from './ports.ts';
import { addChat } from './routes/chat.ts';
import { addComparisons } from './routes/comparisons.ts';
import { addCompletions } from './routes/completions.ts';
import { addHealth } from './routes/health.ts';
import { addModels } from './routes/models.ts';
import { addPolicies } from './routes/policies.ts';
import { addPreferenceFiles } from './routes/preference-files.ts';
import { addPreferences } from './routes/preferences.ts';
import { addRounds } from './routes/rounds.ts';
import { addStoredChats } from './routes/stored-chats.ts';

const ABOUT = {
  title: 'Attune',
  version: '0.1.0',
  description: 'Generates text with a small language model, takes preferences, and learns from them while it serves.',
};

export function createApp(ports: Ports): OpenAPIHono {
  const app = new OpenAPIHono();
  app.onError((error, context) => toErrorResponse(context, error));
  app.notFound((context) =>
    toErrorResponse(
      context,
      new AttuneError(`there is no ${context.req.method} ${context.req.path}; GET /docs shows what there is`, {
        status: 404,
        code: 'not_found',
      }),
    ),
  );
  app.use(requestId({ generator: () => newId('req_') }), nameAnswer);
  if (ports.metrics) app.use(countAnswers(ports.metrics));
  if (ports.settings.API_KEY) app.use('/v1/*', requireApiKey(ports.settings.API_KEY));
  if (ports.isWithinRateLimit) app.use('/v1/*', limitRate(ports.isWithinRateLimit));
  const readAll = limitBody(ports.settings.MAX_BODY_BYTES);
  // An import is read as it comes.
  app.on('POST', '/v1/*', (context, next) =>
    context.req.path === '/v1/preferences/import' ? next() : readAll(context, next),
  );
  placeOperations(app, ports);

  addHealth(app, ports);
  addChat(app, ports);
  addStoredChats(app, ports);
  addCompletions(app, ports);
  addModels(app, ports);
  addComparisons(app, ports);
  addPreferenceFiles(app, ports);
  addPreferences(app, ports);
  addRounds(app, ports);
  addPolicies(app, ports);

  const bearer = app.openAPIRegistry.registerComponent('securitySchemes', 'key', { type: 'http', scheme: 'bearer' });
  const security = ports.settings.API_KEY ? [{ [bearer.name]: [] }] : [];
  app.doc31('/openapi.json', { openapi: '3.1.0', info: ABOUT, security });
  addDocs(app, ports);
  return app;
}

/** Answers that a handler makes itself, streams above all, carry the request's id too. */
const nameAnswer: MiddlewareHandler = async (context, next) => {
  await next();
  if (!context.res.headers.has('x-request-id')) context.header('x-request-id', context.get('requestId'));
};

function countAnswers(metrics: Metrics): MiddlewareHandler {
  return async (context, next) => {
    const began = performance.now();
    await next();
    const pattern = routePath(context, -1);
    metrics.observeResponse({
      method: context.req.method,
      route: pattern.includes('*') ? 'none' : pattern,
      status: context.res.status,
      seconds: (performance.now() - began) / 1000,
    });
  };
}
