// The keys and raters that requests came with, and the secret of sessions, for one second: how long a process may accept what
// was revoked. It holds rows and no promises, because in a Worker a request cannot await another one's query.
import { LRUCache } from 'lru-cache';
import { type FoundKey, findKey, recordKeyUse } from '../shared/access/keys.ts';
import { findRater, type RaterRow } from '../shared/access/raters.ts';
import { readSecret, type Secret } from '../shared/access/secrets.ts';
import type { Database } from '../shared/database/connect.ts';

const MAX_AGE_MS = 1000;
/** Wrong ids are kept too. */
const MAX_ROWS = 10_000;
const USE_INTERVAL_MS = 60_000;

class RecentRows<T extends object> {
  // Timed here, because timers of lru-cache's own clock do not fire in a Worker between requests.
  private readonly rows = new LRUCache<string, { row: T | null; readAtMs: number }>({ max: MAX_ROWS });

  async find(id: string, read: () => Promise<T | null>): Promise<T | null> {
    const known = this.rows.get(id);
    // Before the read: what it finds may be that old when it returns.
    const readAtMs = Date.now();
    const ageMs = known && readAtMs - known.readAtMs;
    // Below 0 the clock was set back.
    if (ageMs !== undefined && ageMs >= 0 && ageMs < MAX_AGE_MS) return known!.row;
    const row = await read();
    this.rows.set(id, { row, readAtMs });
    return row;
  }
}

export class Credentials {
  private readonly keys = new RecentRows<FoundKey>();
  private readonly raters = new RecentRows<RaterRow>();
  private readonly secrets = new RecentRows<Secret>();

  /** Null if there is no such key. */
  findKey(db: Database, id: string): Promise<FoundKey | null> {
    return this.keys.find(id, () => findKey(db, id));
  }

  /** Once a minute for each key. */
  async recordUse(db: Database, row: FoundKey): Promise<void> {
    if (Date.now() - (row.last_used_at?.getTime() ?? 0) <= USE_INTERVAL_MS) return;
    row.last_used_at = new Date();
    // A database that takes no writes still answers reads.
    await recordKeyUse(db, row.id).catch(() => {});
  }

  /** Null if there is no such rater, or the rater was erased. */
  findRater(db: Database, id: string): Promise<RaterRow | null> {
    return this.raters.find(id, () => findRater(db, id));
  }

  async getSessionSecret(db: Database): Promise<Secret> {
    return (await this.secrets.find('session', () => readSecret(db, 'session')))!;
  }
}
