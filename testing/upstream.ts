// The Attune to which a Worker forwards, as far as placement sees it: it answers everything with where it was computed.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after } from 'node:test';

/** Closed after the tests of the file. `onRequest` is told each path. */
export async function startUpstream(onRequest: (path: string) => void = () => {}): Promise<string> {
  const upstream = createServer((request, response) => {
    onRequest(request.url!);
    request.resume();
    response
      .writeHead(200, { 'content-type': 'application/json', 'x-attune-compute': 'node' })
      .end('{"from": "upstream"}');
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  after(() => {
    upstream.closeAllConnections();
    upstream.close();
  });
  return `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
}
