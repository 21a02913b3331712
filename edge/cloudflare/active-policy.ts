// The id of the active policy, cached in this isolate for a second: after an activation or a rollback anywhere, every
// Worker serves the new policy without a deploy. While the active policy cannot be loaded, the previous one keeps
// serving, as on Node. Manifests are immutable and cached.

import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import { log } from '../../shared/log.ts';
import { type Manifest, refuseReward } from '../../shared/package/manifest.ts';
import { getActivePolicyId, getManifest } from '../../shared/store/registry.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import { noActivePolicy } from '../engine/policy-errors.ts';

const REFRESH_INTERVAL_MS = 1000;
/** Delay before a policy that failed to load is tried again; the cause may be fixed by then. */
const RETRY_DELAY_MS = 5000;
/** A manifest has a few kilobytes. */
const MAX_MANIFESTS = 32;

export class ActivePolicy {
  private cached: { id: string | null; untilMs: number } = { id: null, untilMs: 0 };
  /** The last policy that loaded here while it was active. */
  private fallbackId: string | null = null;
  private failed = { id: '', untilMs: 0 };
  private readonly manifests = new Map<string, Manifest>();

  /** The id of the policy to serve; null before the first activation. */
  async getId(db: Database): Promise<string | null> {
    if (Date.now() >= this.cached.untilMs)
      this.cached = { id: await getActivePolicyId(db), untilMs: Date.now() + REFRESH_INTERVAL_MS };
    const { id } = this.cached;
    return this.fallbackId && id === this.failed.id && Date.now() < this.failed.untilMs ? this.fallbackId : id;
  }

  /** A policy's manifest; `attune` is the policy to serve. */
  async getManifest(db: Database, model = ACTIVE_ALIAS): Promise<Manifest> {
    if (model !== ACTIVE_ALIAS) return this.findManifest(db, model);
    const id = await this.getId(db);
    if (id === null) throw noActivePolicy();
    try {
      return await this.findManifest(db, id);
    } catch (error) {
      if (error instanceof AttuneError && this.markFailed(id, error)) return this.findManifest(db, this.fallbackId!);
      throw error;
    }
  }

  /** Records that a policy loaded here. */
  markLoaded(id: string): void {
    if (id === this.cached.id) this.fallbackId = id;
  }

  /** Records that a policy failed to load; true if the previous one serves in its place for now. */
  markFailed(id: string, reason: AttuneError): boolean {
    if (id !== this.cached.id || !this.fallbackId || this.fallbackId === id) return false;
    this.failed = { id, untilMs: Date.now() + RETRY_DELAY_MS };
    log.error(
      'policy',
      `${id} failed to load; still serving ${this.fallbackId}, next attempt in ${RETRY_DELAY_MS / 1000} s: ${reason.message}`,
    );
    return true;
  }

  /** Makes an activation visible at once in this isolate; others refresh within a second. */
  invalidate(): void {
    this.cached.untilMs = 0;
    this.failed.untilMs = 0;
  }

  private async findManifest(db: Database, id: string): Promise<Manifest> {
    const cached = this.manifests.get(id);
    if (cached) return cached;
    refuseReward(id);
    const manifest = await getManifest(db, id);
    this.manifests.set(id, manifest);
    if (this.manifests.size > MAX_MANIFESTS) this.manifests.delete(this.manifests.keys().next().value!);
    return manifest;
  }
}
