// The pages of browsers: what pages/build.ts has built, read through the port `openAsset`. They have no data; what they show
// they ask the API for, with the session of whoever looks at them.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { toPagePolicy } from '../middleware/security-headers.ts';
import type { Ports } from '../ports.ts';
import { defineOperation } from './operation.ts';

export const RATE_PATH = '/rate';
export const CONSOLE_PATH = '/console';

const TYPES = new Map([
  ['css', 'text/css'],
  ['js', 'text/javascript'],
  ['svg', 'image/svg+xml'],
  ['woff2', 'font/woff2'],
]);

// Nothing is inline, and what the pages make of texts goes through DOMPurify, or the browser refuses it. `trusted`: the names of
// the policies by which a page makes elements of texts.
const toPolicy = (trusted: string) =>
  toPagePolicy(
    "script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
      `trusted-types ${trusted}; require-trusted-types-for 'script'`,
  );

const page = (name: string, summary: string, policy = toPolicy('dompurify')) =>
  defineOperation({
    scopes: null,
    summary,
    response: z.string(),
    hide: true,
    async handler({ ports, context }) {
      const file = await openBuilt(ports, context, `${name}/index.html`);
      return new Response(file.body, {
        headers: {
          ...listEncoding(file),
          'content-type': 'text/html; charset=UTF-8',
          'content-security-policy': policy,
          // Asks again each time, and gets a 304: the page names the files of one build.
          'cache-control': 'no-cache',
        },
      });
    },
  });

export const serveRate = page('rate', 'The rating page');
// `default` lets ECharts empty its element, and makes nothing of any text (pages/console/parts/echarts.ts).
export const serveConsole = page('console', 'The console, with the welcome page at /', toPolicy('dompurify default'));

export const EMBED_PATH = '/embed.js';

export const serveEmbed = defineOperation({
  scopes: null,
  summary: 'The web component <attune-compare>, for pages of any origin',
  response: z.string(),
  hide: true,
  async handler({ ports, context }) {
    const file = await openBuilt(ports, context, 'embed.js');
    return new Response(file.body, {
      headers: {
        ...listEncoding(file),
        'content-type': 'text/javascript; charset=UTF-8',
        'access-control-allow-origin': '*',
        'cross-origin-resource-policy': 'cross-origin',
        // Its name has no hash, because products have it in their pages.
        'cache-control': 'public, no-cache',
      },
    });
  },
});

export const servePageFile = defineOperation({
  scopes: null,
  summary: 'A file of the pages',
  response: z.string(),
  hide: true,
  async handler({ ports, context, param }) {
    const [, name, extension] = /^([\w-]+(?:\.[\w-]+)*)\.(\w+)$/.exec(param('file')) ?? [];
    const type = extension === undefined ? undefined : TYPES.get(extension);
    const file = type && (await ports.openAsset(`assets/${name}.${extension}`, context.req.raw));
    if (!file) return context.notFound();
    return new Response(file.body, {
      headers: { ...listEncoding(file), 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable' },
    });
  },
});

/** How the port has encoded the file. A Worker's does not: Cloudflare does it behind it. */
export function listEncoding({ headers }: Response): Record<string, string> {
  const encoding = headers.get('content-encoding');
  return { vary: 'accept-encoding', ...(encoding === null ? {} : { 'content-encoding': encoding }) };
}

async function openBuilt(ports: Ports, context: Context, path: string): Promise<Response> {
  const file = await ports.openAsset(path, context.req.raw);
  if (file) return file;
  throw new AttuneError('the pages are not built; run `npm run build`, and load this page again', {
    status: 503,
    code: 'pages_not_built',
    retry: false,
  });
}
