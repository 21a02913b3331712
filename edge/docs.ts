// /docs: Swagger UI over /openapi.json. Its files come from the npm package through the host (node.ts), not from
// another site, so that it works without a network.

import type { Context } from 'hono';

export function showDocs(context: Context): Response | Promise<Response> {
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
