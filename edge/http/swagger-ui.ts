// /docs: Swagger UI over /openapi.json. Its files come from the npm package through the host (node.ts, worker.ts), not
// from another site, so that it works without a network.

import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Ports } from '../ports.ts';

const FILES: Record<string, string> = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
};

export function addDocs(app: OpenAPIHono, { openDocsFile: docsFile }: Ports): void {
  app.get('/docs', showPage);
  app.get('/docs/:file', async (context) => {
    const file = context.req.param('file');
    const type = FILES[file];
    const found = type && (await docsFile(file));
    if (!found) return context.notFound();
    return new Response(found.body, { headers: { 'content-type': type, 'cache-control': 'max-age=86400' } });
  });
  app.get('/', (context) => context.redirect('/docs'));
}

function showPage(context: Context): Response | Promise<Response> {
  return context.html(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attune API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', deepLinking: true, validatorUrl: null });</script>
</body>
</html>`);
}
