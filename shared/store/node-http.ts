// fetch by node:http. The fetch of Node 24 ends the process if a server closes its connection while a body waits to be
// read (undici issue 5360), which a large download from a server without keep-alive does.

import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import type { Fetch } from './s3-client.ts';

const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };

export const fetchByNodeHttp: Fetch = (url, { method, headers, body, signal }) =>
  new Promise((resolve, reject) => {
    const isSecure = url.protocol === 'https:';
    const length = body ? { 'content-length': body.length } : {};
    const request = (isSecure ? https : http).request(url, {
      method,
      signal,
      agent: isSecure ? agents.https : agents.http,
      headers: { ...Object.fromEntries(headers), ...length },
    });
    request.once('error', reject);
    request.once('response', (response) => {
      // From here on errors of the connection surface in the body.
      request.on('error', () => {});
      const status = response.statusCode!;
      const pairs = Object.entries(response.headers).flatMap(([name, value]) => (value ? [[name, String(value)]] : []));
      const hasBody = ![204, 205, 304].includes(status);
      if (!hasBody) response.resume();
      const stream = hasBody ? (Readable.toWeb(response) as ReadableStream<Uint8Array>) : null;
      resolve(new Response(stream, { status, headers: Object.fromEntries(pairs) }));
    });
    request.end(body);
  });
