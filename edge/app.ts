// The API as a Hono app. It imports no node:, onnxruntime or Cloudflare module: those come in through its ports.

import { OpenAPIHono } from '@hono/zod-openapi';
import { bearerAuth } from 'hono/bearer-auth';
import { bodyLimit } from 'hono/body-limit';
import { requestId } from 'hono/request-id';
import { AttuneError } from '../shared/error.ts';
import { newId } from '../shared/id.ts';
import { answerError } from './answer.ts';
import { showDocs } from './docs.ts';
import type { Ports } from './ports.ts';
import { addChat } from './routes/chat.ts';
import { addComparisons } from './routes/comparisons.ts';
import { addCompletions } from './routes/completions.ts';
import { addHealth } from './routes/health.ts';
import { addModels } from './routes/models.ts';
import { addPolicies } from './routes/policies.ts';
import { addPreferenceFiles } from './routes/preference-files.ts';
import { addPreferences } from './routes/preferences.ts';
import { addRounds } from './routes/rounds.ts';

const ABOUT = {
  title: 'Attune',
  version: '0.1.0',
  description: 'Generates text with a small language model, takes preferences, and learns from them while it serves.',
};

export function createApp(ports: Ports): OpenAPIHono {
  const app = new OpenAPIHono();
  app.onError((error, context) => answerError(context, error));
  app.notFound((context) =>
    answerError(
      context,
      new AttuneError(`there is no ${context.req.method} ${context.req.path}; GET /docs shows what there is`, {
        status: 404,
        code: 'not_found',
      }),
    ),
  );
  app.use(requestId({ generator: () => newId('req_') }));
  if (ports.settings.API_KEY) app.use('/v1/*', requireKey(ports.settings.API_KEY));
  const limit = ports.settings.MAX_BODY_BYTES;
  const limited = bodyLimit({
    maxSize: limit,
    onError: () => {
      throw new AttuneError(`the body is larger than ${limit} bytes; send less, or import preferences, which stream`, {
        status: 413,
        code: 'body_too_large',
      });
    },
  });
  app.use('/v1/*', (context, next) =>
    context.req.path === '/v1/preferences/import' ? next() : limited(context, next),
  );

  addHealth(app, ports);
  addChat(app, ports);
  addCompletions(app, ports);
  addModels(app, ports);
  addComparisons(app, ports);
  addPreferenceFiles(app, ports);
  addPreferences(app, ports);
  addRounds(app, ports);
  addPolicies(app, ports);

  app.doc31('/openapi.json', { openapi: '3.1.0', info: ABOUT });
  app.get('/docs', showDocs);
  app.get('/', (context) => context.redirect('/docs'));
  return app;
}

function requireKey(token: string) {
  const refuse = () => {
    throw new AttuneError('this API needs its key: send `authorization: Bearer …` with the value of API_KEY', {
      status: 401,
      code: 'invalid_api_key',
      retry: false,
    });
  };
  return bearerAuth({
    token,
    noAuthenticationHeader: { message: refuse },
    invalidAuthenticationHeader: { message: refuse },
    invalidToken: { message: refuse },
  });
}
