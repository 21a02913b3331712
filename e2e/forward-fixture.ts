// Fixture of e2e/forward.test.ts: a proxy to the upstream that cuts connections or redirects to a misbehaving server, and
// forward-worker.ts in workerd with workerd's own network. Wrangler's test harness would send the Worker's requests through
// Node's fetch, which hides how a connection ended.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { unstable_startWorker as startWorker } from 'wrangler';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';
import type { Json } from '../testing/edge-server.ts';
import type { ContainerScript } from './forward-worker.ts';

export type UpstreamProxy = Awaited<ReturnType<typeof openUpstreamProxy>>;

/** A TCP proxy to the upstream whose target can be changed. */
export async function openUpstreamProxy(url: string) {
  let target = new URL(url);
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port), target.hostname);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as net.AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  after(() => {
    cut();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${port}`,
    forwardTo(url: string) {
      cut();
      target = new URL(url);
    },
    cut,
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
    open: () => listen(port),
  };
}

export async function startForwarder(proxy: UpstreamProxy, key: string, vars: Record<string, string>) {
  Object.assign(process.env, WRANGLER_OFFLINE_ENV);
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-forward-'));
  const config = path.join(folder, 'wrangler.json');
  await writeFile(
    config,
    JSON.stringify({
      name: 'forward',
      main: fileURLToPath(new URL('forward-worker.ts', import.meta.url)),
      compatibility_date: '2026-10-01',
      compatibility_flags: ['nodejs_compat', 'enable_request_signal'],
      vars: { UPSTREAM: proxy.url, ...vars },
      durable_objects: { bindings: [{ name: 'EDGE', class_name: 'StubContainer' }] },
      migrations: [{ tag: 'v1', new_sqlite_classes: ['StubContainer'] }],
      ratelimits: [{ name: 'RATE_LIMIT', namespace_id: '1', simple: { limit: 3, period: 60 } }],
    }),
  );
  const logs: string[] = [];
  const started = await startWorker({
    config,
    dev: {
      server: { hostname: '127.0.0.1', port: 0 },
      logLevel: 'none',
      watch: false,
      persist: false,
      inspector: false,
      structuredLogsHandler: ({ message }: { message: string }) => logs.push(message),
    },
  } as never);
  after(async () => {
    await started.dispose();
    await rm(folder, { recursive: true, force: true });
  });
  await started.ready;
  const { origin } = await started.url;
  const send = (target: string, json: unknown, init: RequestInit = {}) =>
    fetch(origin + target, {
      method: 'POST',
      body: JSON.stringify(json),
      ...init,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...init.headers },
    });
  return {
    logs,
    send,
    async request(target: string, json: unknown, init?: RequestInit) {
      const response = await send(target, json, init);
      return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
    },
    machine: async (command: string, script: ContainerScript = {}) =>
      (await (await send(`/machine/${command}`, script)).json()) as Record<string, string>[],
  };
}

/** Points the proxy at a server with this listener. */
export async function serveInstead(proxy: UpstreamProxy, listener: RequestListener): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  proxy.forwardTo(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
}
