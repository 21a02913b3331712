// The keys that requests came with, for one second: how long a process may accept one that was revoked. It holds rows and no
// promises, because in a Worker a request cannot await another one's query.
import { LRUCache } from 'lru-cache';
import { findKey, type KeyRow, recordKeyUse } from '../shared/access/keys.ts';
import type { Database } from '../shared/database/connect.ts';

const MAX_AGE_MS = 1000;
/** Wrong ids are kept too. */
const MAX_KEYS = 10_000;
const USE_INTERVAL_MS = 60_000;

export class KeyCache {
  // Timed here, because timers of lru-cache's own clock do not fire in a Worker between requests.
  private readonly keys = new LRUCache<string, { row: KeyRow | null; readAtMs: number }>({ max: MAX_KEYS });

  /** Null if there is no such key. */
  async find(db: Database, id: string): Promise<KeyRow | null> {
    const known = this.keys.get(id);
    if (known && Date.now() - known.readAtMs < MAX_AGE_MS) return known.row;
    const row = await findKey(db, id);
    this.keys.set(id, { row, readAtMs: Date.now() });
    if (row && Date.now() - (row.last_used_at?.getTime() ?? 0) > USE_INTERVAL_MS)
      // A database that takes no writes still answers reads.
      await recordKeyUse(db, id).catch(() => {});
    return row;
  }
}
