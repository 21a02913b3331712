// /docs: Swagger UI for /openapi.json. Its files come from the npm package, through the port `openDocsFile`, and not from
// a CDN, so that it works offline.

import { z } from '@hono/zod-openapi';
import { defineOperation } from './operation.ts';

const FILE_TYPES = new Map([
  ['swagger-ui.css', 'text/css'],
  ['swagger-ui-bundle.js', 'text/javascript'],
]);

export const serveDocs = defineOperation({
  scopes: null,
  summary: 'Swagger UI',
  response: z.string(),
  hide: true,
  handler: async ({ context }) => context.html(PAGE),
});

export const serveDocsFile = defineOperation({
  scopes: null,
  summary: 'A file of Swagger UI',
  response: z.string(),
  hide: true,
  async handler({ ports, context, param }) {
    const type = FILE_TYPES.get(param('file'));
    const file = type && (await ports.openDocsFile(param('file')));
    if (!file) return context.notFound();
    return new Response(file.body, { headers: { 'content-type': type, 'cache-control': 'max-age=86400' } });
  },
});

export const redirectToDocs = defineOperation({
  scopes: null,
  summary: 'Redirects to /docs',
  response: z.string(),
  hide: true,
  handler: async ({ context }) => context.redirect('/docs'),
});

const PAGE = `<!doctype html>
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
</html>`;
