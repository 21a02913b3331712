// Which policy answers, as this isolate knows it: one row, read again after a second, so that a policy published or
// rolled back anywhere is served by every Worker without a deploy. One that cannot be loaded leaves the one before it
// answering, as on Node. Manifests never change and are kept.

import { eq } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { policies } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { type Manifest, manifestSchema } from '../../shared/package/manifest.ts';
import { getActivePolicyId, unknownPolicy } from '../../shared/store/registry.ts';

/** Milliseconds for which a look at the registry is good. */
const REFRESH_INTERVAL_MS = 1000;
/** Milliseconds before a policy that did not load is tried again: what was wrong may have been mended. */
const RETRY_DELAY_MS = 5000;
/** Manifests kept, a few kilobytes each. */
const MAX_MANIFESTS = 32;

export class ActivePolicy {
  private cached: { id: string | null; until: number } = { id: null, until: 0 };
  /** The last one that loaded here while it was active. */
  private fallbackId: string | null = null;
  private failed = { id: '', until: 0 };
  private readonly manifests = new Map<string, Manifest>();

  /** The id of the policy that answers, or null before the first one. */
  async getId(db: Database): Promise<string | null> {
    if (Date.now() >= this.cached.until)
      this.cached = { id: await getActivePolicyId(db), until: Date.now() + REFRESH_INTERVAL_MS };
    const { id } = this.cached;
    return this.fallbackId && id === this.failed.id && Date.now() < this.failed.until ? this.fallbackId : id;
  }

  /** The manifest of a policy; without an id, or with `attune`, of the one that answers. */
  async getManifest(db: Database, asked = 'attune'): Promise<Manifest> {
    if (asked !== 'attune') return this.findManifest(db, asked);
    const id = await this.getId(db);
    if (id === null)
      throw new AttuneError('policy: none is active yet; try again when /health says so', {
        status: 503,
        param: 'model',
        code: 'policy_not_loaded',
      });
    try {
      return await this.findManifest(db, id);
    } catch (error) {
      if (error instanceof AttuneError && this.markFailed(id, error)) return this.findManifest(db, this.fallbackId!);
      throw error;
    }
  }

  /** Notes that a policy was loaded here. */
  markLoaded(id: string): void {
    if (id === this.cached.id) this.fallbackId = id;
  }

  /** Notes that it could not be; true where the one before it answers in its place for now. */
  markFailed(id: string, reason: AttuneError): boolean {
    if (id !== this.cached.id || !this.fallbackId || this.fallbackId === id) return false;
    this.failed = { id, until: Date.now() + RETRY_DELAY_MS };
    console.error(
      `policy: ${id} was refused, ${this.fallbackId} goes on; again in ${RETRY_DELAY_MS / 1000} s: ${reason.message}`,
    );
    return true;
  }

  /** What was just made active is known at once here; other isolates look within a second. */
  invalidate(): void {
    this.cached.until = 0;
    this.failed.until = 0;
  }

  private async findManifest(db: Database, id: string): Promise<Manifest> {
    const known = this.manifests.get(id);
    if (known) return known;
    const [row] = await db.select({ manifest: policies.manifest }).from(policies).where(eq(policies.id, id));
    if (!row) throw unknownPolicy(id);
    return this.cacheManifest(id, row.manifest);
  }

  private cacheManifest(id: string, row: Record<string, unknown>): Manifest {
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
    if (this.manifests.size > MAX_MANIFESTS) this.manifests.delete(this.manifests.keys().next().value!);
    return manifest;
  }
}
