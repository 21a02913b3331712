// A door on the way to a server of this machine, for a test: open, shut (connections are refused), or silent (they are
// taken, and nothing comes). It goes away with the test.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after } from 'node:test';

export type Gate = {
  /** The given address, through the gate. */
  url: string;
  open(): Promise<void>;
  /** Cuts every connection and refuses new ones. */
  shut(): Promise<void>;
  /** Cuts every connection and says nothing on new ones. */
  hush(): Promise<void>;
  /** Cuts every connection; new ones pass. */
  cut(): void;
};

export async function openGate(address: string): Promise<Gate> {
  const target = new URL(address);
  const sockets = new Set<Socket>();
  let isSilent = false;
  let server: Server | undefined;
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    return socket;
  };
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const listen = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server = createServer((inner) => {
        keep(inner);
        if (isSilent) return;
        const outer = keep(connect(Number(target.port), target.hostname));
        inner.pipe(outer).pipe(inner);
        inner.on('close', () => outer.destroy());
        outer.on('close', () => inner.destroy());
      });
      server.once('error', reject).listen(port, '127.0.0.1', () => resolve((server!.address() as AddressInfo).port));
    });
  const port = await listen(0);
  const shut = async () => {
    const closed = new Promise((resolve) => (server?.listening ? server.close(resolve) : resolve(null)));
    cut();
    await closed;
  };
  const pass = async (silent: boolean) => {
    isSilent = silent;
    cut();
    if (!server?.listening) await listen(port);
  };
  after(shut);
  const url = new URL(address);
  url.port = String(port);
  return { url: url.href, open: () => pass(false), hush: () => pass(true), shut, cut };
}
