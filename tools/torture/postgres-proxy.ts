// A proxy between the API and Postgres that follows the statements of each connection and injects one fault at a time, at
// the point of a request that it was armed for.

import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProxyServer } from '../../testing/proxy-server.ts';
import { MessageSplitter, readBind, readParse, readQuery, type WireMessage } from './wire-messages.ts';

/** Where a request meets its fault, in the order of a request. */
export const KILL_POINTS = [
  'before work',
  'after BEGIN',
  'after SELECT',
  'before INSERT',
  'before the key',
  'before COMMIT',
  'acknowledgement lost',
  'after the answer',
] as const;
export type KillPoint = (typeof KILL_POINTS)[number];

/** cut: FIN. reset: RST. delay: half a second. stall: nothing passes any more, as behind a dead router. */
export const FAULT_KINDS = ['cut', 'reset', 'delay', 'stall'] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export type Fault = {
  point: KillPoint;
  kind: FaultKind;
  /** one: the connection at the point. all: every connection at the same moment. */
  scope: 'one' | 'all';
};

const DELAY_MS = 500;

type Armed = { fault: Fault; fired: () => void };

export class PostgresProxy {
  private readonly links = new Set<Link>();
  private readonly server: ProxyServer;
  private armed: Armed | null = null;
  private isStalled = false;

  constructor(target: URL) {
    this.server = new ProxyServer((client) => {
      const link = new Link(client, this.server.dial(target), (point) => this.meet(link, point));
      this.links.add(link);
      if (this.isStalled) link.stall();
      client.on('close', () => this.links.delete(link));
    });
  }

  listen(): Promise<number> {
    return this.server.listen();
  }

  close(): Promise<void> {
    return this.server.close();
  }

  /** Resolves with true when the fault has happened, with false if no request came to its point in time. */
  async inject(fault: Fault, timeoutMs: number): Promise<boolean> {
    const fired = new Promise<true>((resolve) => {
      this.armed = { fault, fired: () => resolve(true) };
    });
    const happened = await Promise.race([fired, sleep(timeoutMs, false as const)]);
    this.armed = null;
    return happened;
  }

  /** Nothing passes on any connection, new ones included, until the time is over; then all are reset. */
  async partition(durationMs: number): Promise<void> {
    this.isStalled = true;
    for (const link of this.links) link.stall();
    await sleep(durationMs);
    this.isStalled = false;
    this.server.reset();
  }

  /** Called where a connection is at a point; returns what happens there, or null. */
  private meet(link: Link, point: KillPoint): FaultKind | null {
    if (this.armed?.fault.point !== point) return null;
    const { fault, fired } = this.armed;
    this.armed = null;
    fired();
    if (fault.scope === 'all') for (const other of this.links) if (other !== link) other.apply(fault.kind);
    return fault.kind;
  }
}

type Statement = 'begin' | 'commit' | 'select' | 'insert' | 'key' | 'other';

/** One client and its own connection to Postgres. */
class Link {
  private readonly client: Socket;
  private readonly upstream: Socket;
  private readonly meet: (point: KillPoint) => FaultKind | null;
  private readonly texts = new Map<string, string>();
  /** The last statement of each request that Postgres has not yet answered with ReadyForQuery. */
  private readonly unanswered: Statement[] = [];
  private current: Statement = 'other';
  private isInTransaction = false;
  private isStalled = false;

  constructor(client: Socket, upstream: Socket, meet: (point: KillPoint) => FaultKind | null) {
    this.client = client;
    this.upstream = upstream;
    this.meet = meet;
    this.forward(client, upstream, 'client', (message) => this.readClient(message));
    this.forward(upstream, client, 'server', (message) => this.readServer(message));
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  }

  stall(): void {
    this.isStalled = true;
  }

  apply(kind: FaultKind): void {
    if (kind === 'stall') this.stall();
    else if (kind === 'cut') for (const socket of [this.client, this.upstream]) socket.destroy();
    else if (kind === 'reset') for (const socket of [this.client, this.upstream]) socket.resetAndDestroy();
  }

  /** Passes whole messages on, each after its faults; a delay holds back what follows too. */
  private forward(
    from: Socket,
    to: Socket,
    side: 'client' | 'server',
    read: (message: WireMessage) => { before?: KillPoint[]; after?: KillPoint[] },
  ): void {
    const splitter = new MessageSplitter(side);
    let queue = Promise.resolve();
    const suffer = async (points: KillPoint[] = []) => {
      for (const point of points) {
        const kind = this.isStalled ? null : this.meet(point);
        if (kind) this.apply(kind);
        if (kind === 'delay') await sleep(DELAY_MS);
      }
    };
    from.on('data', (chunk: Buffer) => {
      for (const message of splitter.push(chunk)) {
        const { before, after } = read(message);
        queue = queue.then(async () => {
          await suffer(before);
          if (this.isStalled || to.destroyed) return;
          to.write(message.bytes);
          await suffer(after);
        });
      }
    });
  }

  private readClient(message: WireMessage): { before?: KillPoint[] } {
    const { type } = message;
    if (type === 'P') this.texts.set(...readParse(message));
    if (type === 'S') this.unanswered.push(this.current);
    if (type !== 'Q' && type !== 'B') return {};
    this.current = classify(type === 'Q' ? readQuery(message) : (this.texts.get(readBind(message)) ?? ''));
    if (type === 'Q') this.unanswered.push(this.current);
    return { before: POINT_BEFORE[this.current] };
  }

  private readServer(message: WireMessage): { before?: KillPoint[]; after?: KillPoint[] } {
    if (message.type !== 'Z') return {};
    const statement = this.unanswered.shift();
    const wasInTransaction = this.isInTransaction;
    // ReadyForQuery ends with the state: I idle, T in a transaction, E in a failed one.
    this.isInTransaction = String.fromCharCode(message.bytes[5]!) !== 'I';
    // An insert outside a transaction commits by itself.
    const isCommit = statement === 'commit' || (statement === 'insert' && !wasInTransaction);
    if (isCommit && !this.isInTransaction) return { before: ['acknowledgement lost'], after: ['after the answer'] };
    if (statement === 'begin') return { after: ['after BEGIN'] };
    return statement === 'select' ? { after: ['after SELECT'] } : {};
  }
}

const POINT_BEFORE: Partial<Record<Statement, KillPoint[]>> = {
  begin: ['before work'],
  insert: ['before INSERT'],
  key: ['before the key'],
  commit: ['before COMMIT'],
};

function classify(text: string): Statement {
  const start = text.trimStart().slice(0, 200).toLowerCase();
  if (start.startsWith('begin')) return 'begin';
  if (start.startsWith('commit')) return 'commit';
  if (start.includes('insert into "idempotency_keys"')) return 'key';
  if (/insert into "(preferences|comparisons|generations|completions)"/.test(start)) return 'insert';
  return start.startsWith('select') ? 'select' : 'other';
}
