// Requests by node:http. The fetch of Node 24 ends the whole process where a server closes its connection while a body
// waits to be read (undici issue 5360), and a large download from a server without keep-alive does just that.

import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import type { Fetch } from './s3-client.ts';

const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };

export const fetchByNodeHttp: Fetch = (url, { method, headers, body, signal }) =>
  new Promise((resolve, reject) => {
    const isSecure = url.protocol === 'https:';
    const options = { method, signal, agent: isSecure ? agents.https : agents.http };
    const length = body ? { 'content-length': body.length } : {};
    const sent = (isSecure ? https : http).request(url, {
      ...options,
      headers: { ...Object.fromEntries(headers), ...length },
    });
    sent.once('error', reject);
    sent.once('response', (answer) => {
      // What happens to the connection from here on is seen in the body.
      sent.on('error', () => {});
      const status = answer.statusCode!;
      const pairs = Object.entries(answer.headers).flatMap(([name, value]) => (value ? [[name, String(value)]] : []));
      const hasBody = ![204, 205, 304].includes(status);
      if (!hasBody) answer.resume();
      const stream = hasBody ? (Readable.toWeb(answer) as ReadableStream<Uint8Array>) : null;
      resolve(new Response(stream, { status, headers: Object.fromEntries(pairs) }));
    });
    sent.end(body);
  });
