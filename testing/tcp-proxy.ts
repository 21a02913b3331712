// A TCP proxy to a local server for tests of connection failures: it forwards, refuses connections, or accepts them without
// responding. Closed after the test.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after } from 'node:test';

type TcpProxy = {
  /** The target's URL with the proxy's port. */
  url: string;
  /** Resets every connection; new ones are forwarded. */
  forward(): Promise<void>;
  /** Resets every connection and refuses new ones. */
  refuse(): Promise<void>;
  /** Resets every connection; new ones are accepted and get no response. */
  blackhole(): Promise<void>;
  /** Resets every connection, without a change of mode. */
  reset(): void;
};

export async function openTcpProxy(address: string): Promise<TcpProxy> {
  const target = new URL(address);
  const sockets = new Set<Socket>();
  let isBlackhole = false;
  let server: Server | undefined;
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    return socket;
  };
  const reset = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const listen = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server = createServer((client) => {
        track(client);
        if (isBlackhole) return;
        const upstream = track(connect(Number(target.port), target.hostname));
        client.pipe(upstream).pipe(client);
        client.on('close', () => upstream.destroy());
        upstream.on('close', () => client.destroy());
      });
      server.once('error', reject).listen(port, '127.0.0.1', () => resolve((server!.address() as AddressInfo).port));
    });
  const port = await listen(0);
  const refuse = async () => {
    const closed = new Promise((resolve) => (server?.listening ? server.close(resolve) : resolve(null)));
    reset();
    await closed;
  };
  const accept = async (blackhole: boolean) => {
    isBlackhole = blackhole;
    reset();
    if (!server?.listening) await listen(port);
  };
  after(refuse);
  const url = new URL(address);
  url.port = String(port);
  return { url: url.href, forward: () => accept(false), blackhole: () => accept(true), refuse, reset };
}
