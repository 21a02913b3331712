// Bounds a server's open connections. One more takes the place of the one that has waited longest for a request, so that a
// client that only opens connections keeps nobody out; if all are at work, it is closed.

import type { Server } from 'node:http';
import type { Socket } from 'node:net';

export type ConnectionLimit = {
  /** Closes the connections without a request in progress, those included that never had one. */
  closeIdle(): void;
};

export function limitConnections(server: Server, max: number): ConnectionLimit {
  /** The one that has waited longest is first. */
  const idle = new Set<Socket>();
  const requests = new WeakMap<Socket, number>();
  let open = 0;
  server.on('connection', (socket) => {
    open++;
    socket.once('close', () => {
      open--;
      idle.delete(socket);
    });
    idle.add(socket);
    if (open > max) idle.values().next().value!.destroy();
  });
  server.on('request', ({ socket }, response) => {
    requests.set(socket, (requests.get(socket) ?? 0) + 1);
    idle.delete(socket);
    response.once('close', () => {
      // A client may send several requests before the first is answered.
      const left = requests.get(socket)! - 1;
      requests.set(socket, left);
      if (left === 0 && !socket.destroyed) idle.add(socket);
    });
  });
  return {
    closeIdle() {
      for (const socket of idle) socket.destroy();
    },
  };
}
