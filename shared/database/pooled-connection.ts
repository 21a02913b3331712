// One connection of the pool: a client of postgres.js with a single socket, never used again once that socket is lost.
// postgres.js reuses its connection object instead, with statements of the lost socket still in its buffers: later ones
// then wait forever, get the results of others, or run in another's transaction (porsager/postgres issue 1216).

import postgres, { type Sql } from 'postgres';
import { connectionError, isConnectionError } from '../statement-error.ts';

export type DriverOptions = NonNullable<Parameters<typeof postgres>[1]>;

const CLOSE_TIMEOUT_S = 5;

export class PooledConnection {
  readonly sql: Sql;
  readonly openedMs = performance.now();
  /** Whether Postgres has accepted the connection: no statement was sent before. */
  isReady = false;
  isLost = false;
  private readonly onLost: () => void;
  private readonly running = new Set<(error: Error) => void>();

  constructor(url: string, options: DriverOptions, onLost: () => void) {
    this.onLost = onLost;
    this.sql = postgres(url, {
      ...options,
      max: 1,
      // The pool replaces old connections, between two statements.
      max_lifetime: null,
      onclose: () => this.lose(connectionError('CONNECTION_CLOSED', 'the connection was closed')),
      onparameter: () => {
        this.isReady = true;
      },
    });
  }

  /** Settles like the work, or rejects when the connection is lost, also where the driver would stay silent. */
  run<T>(work: () => PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        this.running.delete(fail);
        if (isConnectionError(error)) this.lose(error);
        reject(error);
      };
      this.running.add(fail);
      work().then((result) => {
        this.running.delete(fail);
        resolve(result);
      }, fail);
    });
  }

  /** Loses the connection after the time limit, unless the returned function is called before. */
  limit(limitMs: number | undefined): () => void {
    if (limitMs === undefined) return () => {};
    const message = `Postgres did not respond within ${limitMs / 1000} s`;
    const timer = setTimeout(() => this.lose(connectionError('STATEMENT_TIMEOUT', message)), limitMs);
    return () => clearTimeout(timer);
  }

  /** Drops the connection at once: Postgres rolls back what it had not committed. */
  lose(error: Error): void {
    if (this.isLost) return;
    this.isLost = true;
    for (const fail of [...this.running]) fail(error);
    this.onLost();
    void this.sql.end({ timeout: 0 });
  }

  /** Closes the connection after the statement that is running. */
  close(): Promise<void> {
    return this.sql.end({ timeout: CLOSE_TIMEOUT_S });
  }
}
