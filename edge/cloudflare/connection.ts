// One Postgres client per request, closed once its response has been read: a Worker cannot use one request's socket in
// another. Hyperdrive pools the connections, so opening a client costs one round trip inside the data centre.

import type { ExecutionContext } from '@cloudflare/workers-types';
import { type Connection, connect } from '../../shared/database/connect.ts';
import { watchBody } from '../http/watch-body.ts';

/** A request may have at most six connections open at once. */
const MAX_CONNECTIONS = 5;

export function openConnection(url: string): Connection {
  return connect(url, { name: 'attune worker', max: MAX_CONNECTIONS, limits: 'client' });
}

/** Returns the response and closes the connection once its body has been read, cancelled or has failed. */
export function closeAfterResponse(response: Response, connection: Connection, context: ExecutionContext): Response {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  context.waitUntil(ended.then(() => connection.close()));
  const watched = watchBody(response, () => resolve());
  if (!watched.body) return response;
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  // workerd's pipeTo resolves before the source has been cancelled, which is after its generations are stored.
  context.waitUntil(watched.body.pipeTo(writable).catch(() => {}));
  return new Response(readable, watched);
}

export async function withConnection<T>(url: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = openConnection(url);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}
