// Which policy answers, as this isolate knows it: one row, read again after a second, so that a policy published or
// rolled back anywhere is served by every Worker without a deploy. Manifests never change and are kept.

import { desc, eq } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { activations, policies } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { type Manifest, manifestSchema } from '../../shared/policy/manifest.ts';

/** Milliseconds for which a look at the registry is good. */
const LIFE = 1000;
/** Manifests kept, a few kilobytes each. */
const KEPT = 32;

export class ActivePolicy {
  private seen: { id: string | null; until: number } = { id: null, until: 0 };
  private readonly manifests = new Map<string, Manifest>();

  /** The active policy's id, or null before the first one. */
  async id(db: Database): Promise<string | null> {
    if (Date.now() < this.seen.until) return this.seen.id;
    const [row] = await db
      .select({ id: policies.id, manifest: policies.manifest })
      .from(activations)
      .innerJoin(policies, eq(policies.id, activations.policy_id))
      .orderBy(desc(activations.id))
      .limit(1);
    if (row) this.keep(row.id, row.manifest);
    this.seen = { id: row?.id ?? null, until: Date.now() + LIFE };
    return this.seen.id;
  }

  /** The manifest of a policy; without an id, or with `attune`, of the active one. */
  async manifest(db: Database, asked = 'attune'): Promise<Manifest> {
    const id = asked === 'attune' ? await this.id(db) : asked;
    if (id === null)
      throw new AttuneError('policy: none is active yet; try again when /health says so', {
        status: 503,
        param: 'model',
        code: 'policy_not_loaded',
      });
    const known = this.manifests.get(id);
    if (known) return known;
    const [row] = await db.select({ manifest: policies.manifest }).from(policies).where(eq(policies.id, id));
    if (!row)
      throw new AttuneError(`model: there is no policy ${id}; GET /v1/models lists those there are`, {
        status: 404,
        param: 'model',
        code: 'model_not_found',
      });
    return this.keep(id, row.manifest);
  }

  /** What was just made active is known at once here; other isolates look within a second. */
  forget(): void {
    this.seen.until = 0;
  }

  private keep(id: string, row: Record<string, unknown>): Manifest {
    const manifest = manifestSchema.parse(row);
    this.manifests.delete(id);
    this.manifests.set(id, manifest);
    if (this.manifests.size > KEPT) this.manifests.delete(this.manifests.keys().next().value!);
    return manifest;
  }
}
