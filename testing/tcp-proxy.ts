// A TCP proxy to a local server for tests of connection failures: it forwards, refuses connections, accepts them without
// responding, stalls, or loses the answer to one message. Closed after the test.

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
  /** Keeps every connection open, but forwards nothing more; new ones get no response either. */
  stall(): void;
  /** Resets every connection, without a change of mode. */
  reset(): void;
  /** Forwards the next message that contains the text, and resets its connection instead of forwarding the answer. */
  loseAnswerTo(text: string): void;
};

export async function openTcpProxy(address: string): Promise<TcpProxy> {
  const url = new URL(address);
  const target = new URL(address);
  let isBlackhole = false;
  let isStalled = false;
  let lostText: string | null = null;
  const server = new ProxyServer((client) => {
    if (isBlackhole || isStalled) return;
    const upstream = server.dial(target);
    let isAnswerLost = false;
    client.on('data', (chunk) => {
      if (isStalled) return;
      if (lostText !== null && chunk.includes(lostText)) {
        lostText = null;
        isAnswerLost = true;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (isStalled) return;
      if (isAnswerLost) client.resetAndDestroy();
      else client.write(chunk);
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  const port = await server.listen();
  const accept = async (blackhole: boolean) => {
    isBlackhole = blackhole;
    isStalled = false;
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
    stall: () => (isStalled = true),
    loseAnswerTo: (text) => (lostText = text),
  };
}
