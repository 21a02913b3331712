// /docs: Swagger UI for /openapi.json. Its files are those of the npm package, copied by pages/build.ts, and not from a CDN, so
// that it works offline.

import { z } from '@hono/zod-openapi';
import { toCspHash, toPagePolicy } from '../middleware/security-headers.ts';
import { defineOperation } from './operation.ts';
import { listEncoding } from './pages.ts';

const FILE_TYPES = new Map([
  ['swagger-ui.css', 'text/css'],
  ['swagger-ui-bundle.js', 'text/javascript'],
]);

export const serveDocs = defineOperation({
  scopes: ['read'],
  publicAs: 'docs',
  summary: 'Swagger UI',
  response: z.string(),
  hide: true,
  handler: async ({ context }) => context.html(PAGE, 200, { 'content-security-policy': POLICY }),
});

export const serveDocsFile = defineOperation({
  scopes: ['read'],
  publicAs: 'docs',
  summary: 'A file of Swagger UI',
  response: z.string(),
  hide: true,
  async handler({ ports, context, param }) {
    const type = FILE_TYPES.get(param('file'));
    const file = type && (await ports.openAsset(`docs/${param('file')}`, context.req.raw));
    if (!file) return context.notFound();
    return new Response(file.body, {
      headers: { ...listEncoding(file), 'content-type': type, 'cache-control': 'max-age=86400' },
    });
  },
});

export const redirectToDocs = defineOperation({
  scopes: null,
  summary: 'Redirects to /docs',
  response: z.string(),
  hide: true,
  handler: async ({ context }) => context.redirect('/docs'),
});

const SCRIPT = "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', deepLinking: true, validatorUrl: null });";
// Swagger UI has images in its style sheet, and sets styles from its script.
const POLICY = toPagePolicy(
  `script-src 'self' ${toCspHash(SCRIPT)}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'`,
);

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
<script>${SCRIPT}</script>
</body>
</html>`;
