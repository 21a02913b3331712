// A TCP proxy to a local server for tests of connection failures: it forwards, refuses connections, or accepts them without
// responding. Closed after the test.

import { after } from 'node:test';
import { ProxyServer } from './proxy-server.ts';

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
  const url = new URL(address);
  const target = new URL(address);
  let isBlackhole = false;
  const server = new ProxyServer((client) => {
    if (isBlackhole) return;
    const upstream = server.dial(target);
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  const port = await server.listen();
  const accept = async (blackhole: boolean) => {
    isBlackhole = blackhole;
    server.reset();
    if (!server.isListening) await server.listen(port);
  };
  const refuse = () => server.close();
  after(refuse);
  url.port = String(port);
  return {
    url: url.href,
    forward: () => accept(false),
    blackhole: () => accept(true),
    refuse,
    reset: () => server.reset(),
  };
}
