// A pool of connections under drizzle. It bounds every wait for Postgres, and knows of each failed write whether it may
// have been stored. A transaction whose connection is lost is over at once: its callback never continues, and none of its
// statements reaches another connection.

import type { Sql, TransactionSql } from 'postgres';
import { type Effect, isPostgresError, StatementError, toStatementError } from '../statement-error.ts';
import { type DriverOptions, PooledConnection } from './pooled-connection.ts';

/** Milliseconds; undefined: no limit. */
export type PoolLimits = {
  /** until a connection is free */
  waitMs?: number;
  /** until a statement's response has arrived */
  statementMs?: number;
};

/** What the pool has seen of Postgres, in milliseconds of performance.now(). */
export type Observed = {
  respondedMs: number;
  /** null: the last write was not refused because the disk is full */
  diskFullMs: number | null;
};

type Unsafe = Sql['unsafe'] | TransactionSql['unsafe'];
type Work<T> = (client: Sql) => Promise<T>;

/** Connections are replaced, so that those of a changed DNS name, certificate or pooler do not stay forever. */
const MAX_AGE_MS = 30 * 60_000;
/** A server that has become read-only after a failover: a new connection may reach the new primary. */
const READ_ONLY = '25006';
const DISK_FULL = '53100';

export class Pool {
  /** The part of a postgres.js client that drizzle uses. */
  readonly client: Sql;
  readonly observed: Observed = { respondedMs: performance.now(), diskFullMs: null };
  private readonly url: string;
  private readonly options: DriverOptions;
  private readonly max: number;
  private readonly limits: PoolLimits;
  /** How drizzle wants values of each type; each connection gets them. */
  private readonly types = { parsers: {}, serializers: {} };
  private readonly connections = new Set<PooledConnection>();
  private readonly idle: PooledConnection[] = [];
  private readonly waiting: ((connection: PooledConnection | null) => void)[] = [];
  private isClosed = false;

  constructor(url: string, options: DriverOptions, max: number, limits: PoolLimits) {
    this.url = url;
    this.options = options;
    this.max = max;
    this.limits = limits;
    this.client = {
      options: this.types,
      unsafe: (...query: Parameters<Unsafe>) => toQuery((isArrays) => this.runStatement(query, isArrays)),
      begin: <T>(work: Work<T>) => this.runTransaction(work),
    } as unknown as Sql;
  }

  /** Closes all connections, each after its running statement. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const take of this.waiting.splice(0)) take(null);
    await Promise.all([...this.connections].map((connection) => connection.close()));
  }

  private async runStatement(query: Parameters<Unsafe>, isArrays: boolean): Promise<unknown> {
    const isRead = /^\s*(select|show)\b/i.test(query[0]);
    const connection = await this.acquire(isRead ? 'none' : 'not_stored');
    try {
      const result = await this.execute(connection, connection.sql.unsafe.bind(connection.sql), query, isArrays);
      if (!isRead) this.observed.diskFullMs = null;
      return result;
    } catch (error) {
      throw this.fail(connection, error, isRead ? 'none' : connection.isReady ? 'unknown' : 'not_stored');
    } finally {
      this.release(connection);
    }
  }

  private async runTransaction<T>(work: Work<T>): Promise<T> {
    const connection = await this.acquire('not_stored');
    let isCommitting = false;
    let stopTimer = connection.limit(this.limits.statementMs);
    const runWork = async (transaction: TransactionSql): Promise<T> => {
      stopTimer();
      try {
        const result = await this.runScope(connection, transaction, work);
        isCommitting = true;
        return result;
      } finally {
        // For COMMIT or ROLLBACK, which postgres.js sends next.
        stopTimer = connection.limit(this.limits.statementMs);
      }
    };
    try {
      const result = (await connection.run(() => connection.sql.begin(runWork))) as T;
      this.observed.diskFullMs = null;
      return result;
    } catch (error) {
      throw this.fail(connection, error, isCommitting ? 'unknown' : 'not_stored');
    } finally {
      stopTimer();
      this.release(connection);
    }
  }

  /** Settles like the work, but stays pending if the connection is lost, so that postgres.js sends no ROLLBACK. */
  private runScope<T>(connection: PooledConnection, scope: TransactionSql, work: Work<T>): Promise<T> {
    const client = {
      options: this.types,
      unsafe: (...query: Parameters<Unsafe>) =>
        toQuery(async (isArrays) => {
          if (connection.isLost) return new Promise(() => {});
          try {
            return await this.execute(connection, scope.unsafe.bind(scope), query, isArrays);
          } catch (error) {
            throw toStatementError(error, 'not_stored');
          }
        }),
      savepoint: <R>(inner: Work<R>) => scope.savepoint((nested) => this.runScope(connection, nested, inner)),
    } as unknown as Sql;
    return new Promise((resolve, reject) => {
      work(client).then(
        (result) => connection.isLost || resolve(result),
        (error) => connection.isLost || reject(error),
      );
    });
  }

  private async execute(
    connection: PooledConnection,
    unsafe: Unsafe,
    query: Parameters<Unsafe>,
    isArrays: boolean,
  ): Promise<unknown> {
    const stopTimer = connection.limit(this.limits.statementMs);
    try {
      const result = await connection.run<unknown>(() => (isArrays ? unsafe(...query).values() : unsafe(...query)));
      this.observed.respondedMs = performance.now();
      return result;
    } catch (error) {
      if (isPostgresError(error)) this.observed.respondedMs = performance.now();
      throw error;
    } finally {
      stopTimer();
    }
  }

  private fail(connection: PooledConnection, error: unknown, effect: Effect): unknown {
    const failure = toStatementError(error, effect);
    if (!(failure instanceof StatementError)) return failure;
    if (failure.code === READ_ONLY) connection.lose(failure);
    if (failure.code === DISK_FULL) this.observed.diskFullMs = performance.now();
    return failure;
  }

  private async acquire(effect: Effect): Promise<PooledConnection> {
    if (this.isClosed) throw new StatementError('CONNECTION_ENDED', 'the connection pool is closed', effect);
    while (this.idle.length > 0) {
      const connection = this.idle.pop()!;
      if (!this.isExpired(connection)) return connection;
      this.retire(connection);
    }
    if (this.connections.size < this.max) return this.open();
    const connection = await this.waitForConnection();
    if (connection) return connection;
    throw new StatementError('CONNECT_TIMEOUT', 'no connection to Postgres became free in time', effect);
  }

  private open(): PooledConnection {
    const connection: PooledConnection = new PooledConnection(this.url, this.options, () => this.forget(connection));
    Object.assign(connection.sql.options.parsers, this.types.parsers);
    Object.assign(connection.sql.options.serializers, this.types.serializers);
    this.connections.add(connection);
    return connection;
  }

  private waitForConnection(): Promise<PooledConnection | null> {
    return new Promise((resolve) => {
      const take = (connection: PooledConnection | null) => {
        clearTimeout(timer);
        resolve(connection);
      };
      const giveUp = () => {
        this.waiting.splice(this.waiting.indexOf(take), 1);
        resolve(null);
      };
      const { waitMs } = this.limits;
      const timer = waitMs === undefined ? undefined : setTimeout(giveUp, waitMs);
      this.waiting.push(take);
    });
  }

  private release(connection: PooledConnection): void {
    if (connection.isLost) return;
    if (this.isExpired(connection)) this.retire(connection);
    else if (this.waiting.length > 0) this.waiting.shift()!(connection);
    else this.idle.push(connection);
  }

  private isExpired(connection: PooledConnection): boolean {
    return performance.now() - connection.openedMs > MAX_AGE_MS;
  }

  private retire(connection: PooledConnection): void {
    this.forget(connection);
    void connection.close();
  }

  /** Called when a connection is lost too: whoever waits for it gets a new one. */
  private forget(connection: PooledConnection): void {
    if (!this.connections.delete(connection)) return;
    const at = this.idle.indexOf(connection);
    if (at >= 0) this.idle.splice(at, 1);
    if (!this.isClosed && this.waiting.length > 0) this.waiting.shift()!(this.open());
  }
}

/** A promise with the method `values`, as postgres.js has it: the rows as arrays instead of objects. */
function toQuery(run: (isArrays: boolean) => Promise<unknown>) {
  let isArrays = false;
  // drizzle calls `values` before it awaits.
  const result = Promise.resolve().then(() => run(isArrays));
  const values = () => {
    isArrays = true;
    return result;
  };
  return Object.assign(result, { values });
}
