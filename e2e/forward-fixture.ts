// The stage of e2e/forward.test.ts: a real Attune on Node, a gate before it that cuts connections or leads to a server that
// misbehaves, and forward-worker.ts in a real workerd with workerd's own network: the test harness would send its requests
// through Node's fetch, which hides how a connection ended.

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
import type { Play } from './forward-worker.ts';

export type Gate = Awaited<ReturnType<typeof openGate>>;

/** Everything that goes to the upstream goes through here, and is cut off here. */
export async function openGate(url: string) {
  let target = new URL(url);
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
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
    to(url: string) {
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

export async function openForwarder(gate: Gate, key: string, vars: Record<string, string>) {
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
      vars: { UPSTREAM: gate.url, ...vars },
      durable_objects: { bindings: [{ name: 'EDGE', class_name: 'PlayedContainer' }] },
      migrations: [{ tag: 'v1', new_sqlite_classes: ['PlayedContainer'] }],
      ratelimits: [{ name: 'RATE_LIMIT', namespace_id: '1', simple: { limit: 3, period: 60 } }],
    }),
  );
  const said: string[] = [];
  const started = await startWorker({
    config,
    dev: {
      server: { hostname: '127.0.0.1', port: 0 },
      logLevel: 'none',
      watch: false,
      persist: false,
      inspector: false,
      structuredLogsHandler: ({ message }: { message: string }) => said.push(message),
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
    said,
    send,
    async ask(target: string, json: unknown, init?: RequestInit) {
      const response = await send(target, json, init);
      return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
    },
    machine: async (what: string, given: Play = {}) =>
      (await (await send(`/machine/${what}`, given)).json()) as Record<string, string>[],
  };
}

/** A server that does as the test says. */
export async function misbehave(gate: Gate, listener: RequestListener): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  gate.to(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
}
