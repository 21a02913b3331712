// A receiver of webhooks for tests: a real server that checks every signature with the library that receivers use, and
// answers as the test tells it to.

import { createServer, type Server, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { after } from 'node:test';
import { Webhook } from 'standardwebhooks';

export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

export type Received = {
  id: string;
  timestamp: number;
  body: { type: string; timestamp: string; data: Record<string, unknown> };
};

export class WebhookReceiver {
  readonly received: Received[] = [];
  /** What was not signed as it should be. */
  readonly rejected: string[] = [];
  respond: (response: ServerResponse, received: Received) => void = (response) => response.writeHead(204).end();
  private port = 0;
  private server: Server | undefined;

  constructor() {
    after(() => this.close());
  }

  get settings() {
    return { WEBHOOK_URL: `http://127.0.0.1:${this.port}/hook`, WEBHOOK_SECRET: SECRET };
  }

  /** On the port that it had before, where it had one. */
  async open(): Promise<this> {
    const server = createServer(async (request, response) => {
      const body = await text(request);
      const headers = request.headers as Record<string, string>;
      try {
        const received = {
          id: headers['webhook-id']!,
          timestamp: Number(headers['webhook-timestamp']),
          body: new Webhook(SECRET).verify(body, headers) as Received['body'],
        };
        this.received.push(received);
        this.respond(response, received);
      } catch (error) {
        this.rejected.push((error as Error).message);
        response.writeHead(401).end();
      }
    });
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as { port: number }).port;
    this.server = server;
    return this;
  }

  async close(): Promise<void> {
    const { server } = this;
    if (!server) return;
    this.server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
}

/** Waits until it is so; fails after ten seconds. */
export async function until(isSo: () => boolean | Promise<boolean>, patience = 10_000): Promise<void> {
  const end = performance.now() + patience;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`it did not become so within ${patience / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
