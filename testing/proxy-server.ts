// The sockets of a proxy to a local server: those it accepts and those it opens, which can all be reset at once. The
// proxies of the tests and of tools/torture decide what passes between them.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class ProxyServer {
  private readonly sockets = new Set<Socket>();
  private readonly onClient: (client: Socket) => void;
  private server: Server | undefined;

  constructor(onClient: (client: Socket) => void) {
    this.onClient = onClient;
  }

  get isListening(): boolean {
    return this.server?.listening === true;
  }

  /** Listens on the loopback interface and returns the port; 0 is any free one. */
  listen(port = 0): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server = createServer((client) => this.onClient(this.track(client)));
      this.server
        .once('error', reject)
        .listen(port, '127.0.0.1', () => resolve((this.server!.address() as AddressInfo).port));
    });
  }

  /** A connection to the server behind the proxy. */
  dial(target: URL): Socket {
    return this.track(connect(Number(target.port), target.hostname));
  }

  reset(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  /** Refuses new connections and resets the others. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => (this.isListening ? this.server!.close(resolve) : resolve(null)));
    this.reset();
    await closed;
  }

  private track(socket: Socket): Socket {
    this.sockets.add(socket);
    // Otherwise a small write waits for the acknowledgement of the one before, up to 40 ms.
    socket.setNoDelay();
    return socket.on('error', () => {}).on('close', () => this.sockets.delete(socket));
  }
}
