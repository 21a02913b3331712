// Which policy answers, as this isolate knows it: one row, read again after a second, so that a policy published or
// rolled back anywhere is served by every Worker without a deploy. One that cannot be loaded leaves the one before it
// answering, as on Node. Manifests never change and are kept.

import { eq } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { policies } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { type Manifest, manifestSchema } from '../../shared/package/manifest.ts';
import { activePolicyId } from '../../shared/store/registry.ts';

/** Milliseconds for which a look at the registry is good. */
const LIFE = 1000;
/** Milliseconds before a policy that did not load is tried again: what was wrong may have been mended. */
const PAUSE = 5000;
/** Manifests kept, a few kilobytes each. */
const KEPT = 32;

export class ActivePolicy {
  private seen: { id: string | null; until: number } = { id: null, until: 0 };
  /** The last one that loaded here while it was active. */
  private good: string | null = null;
  private refused = { id: '', until: 0 };
  private readonly manifests = new Map<string, Manifest>();

  /** The id of the policy that answers, or null before the first one. */
  async id(db: Database): Promise<string | null> {
    if (Date.now() >= this.seen.until) this.seen = { id: await activePolicyId(db), until: Date.now() + LIFE };
    const { id } = this.seen;
    return this.good && id === this.refused.id && Date.now() < this.refused.until ? this.good : id;
  }

  /** The manifest of a policy; without an id, or with `attune`, of the one that answers. */
  async manifest(db: Database, asked = 'attune'): Promise<Manifest> {
    if (asked !== 'attune') return this.find(db, asked);
    const id = await this.id(db);
    if (id === null)
      throw new AttuneError('policy: none is active yet; try again when /health says so', {
        status: 503,
        param: 'model',
        code: 'policy_not_loaded',
      });
    try {
      return await this.find(db, id);
    } catch (error) {
      if (error instanceof AttuneError && this.refuse(id, error)) return this.find(db, this.good!);
      throw error;
    }
  }

  /** Notes that a policy was loaded here. */
  accept(id: string): void {
    if (id === this.seen.id) this.good = id;
  }

  /** Notes that it could not be; true where the one before it answers in its place for now. */
  refuse(id: string, reason: AttuneError): boolean {
    if (id !== this.seen.id || !this.good || this.good === id) return false;
    this.refused = { id, until: Date.now() + PAUSE };
    console.error(`policy: ${id} was refused, ${this.good} goes on; again in ${PAUSE / 1000} s: ${reason.message}`);
    return true;
  }

  /** What was just made active is known at once here; other isolates look within a second. */
  forget(): void {
    this.seen.until = 0;
    this.refused.until = 0;
  }

  private async find(db: Database, id: string): Promise<Manifest> {
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

  private keep(id: string, row: Record<string, unknown>): Manifest {
    const { data: manifest } = manifestSchema.safeParse(row);
    if (!manifest)
      throw new AttuneError(
        `policy ${id}: a newer version of Attune wrote its manifest; deploy that one, or roll back`,
        {
          status: 503,
          code: 'policy_unusable',
          retry: false,
        },
      );
    this.manifests.set(id, manifest);
    if (this.manifests.size > KEPT) this.manifests.delete(this.manifests.keys().next().value!);
    return manifest;
  }
}
