// What is served, cached in this isolate for a second: after an activation, a rollback or a canary's beginning or end anywhere,
// every Worker follows without a deploy. While the active policy cannot be loaded, the previous one keeps serving, as on
// Node; and without its candidate a canary is none here. Manifests are immutable and cached.

import type { Database } from '../../shared/database/connect.ts';
import type { AttuneError } from '../../shared/error.ts';
import { log } from '../../shared/log.ts';
import { type Manifest, refuseReward } from '../../shared/package/manifest.ts';
import { getManifest, readServing, type Serving } from '../../shared/store/registry.ts';

const REFRESH_INTERVAL_MS = 1000;
/** Delay before a policy that failed to load is tried again; the cause may be fixed by then. */
const RETRY_DELAY_MS = 5000;
/** A manifest has a few kilobytes. */
const MAX_MANIFESTS = 32;

export class ActivePolicy {
  private cached: Serving & { untilMs: number } = { activeId: null, canary: null, untilMs: 0 };
  /** The last policy that loaded here while it was active. */
  private fallbackId: string | null = null;
  /** Until when a policy that failed to load is not tried again. */
  private readonly failed = new Map<string, number>();
  private readonly manifests = new Map<string, Manifest>();

  /** What to serve here; no policy before the first activation. */
  async getServing(db: Database): Promise<Serving> {
    if (Date.now() >= this.cached.untilMs)
      this.cached = { ...(await readServing(db)), untilMs: Date.now() + REFRESH_INTERVAL_MS };
    const { activeId, canary } = this.cached;
    if (activeId !== null && this.fallbackId && this.isFailed(activeId))
      return { activeId: this.fallbackId, canary: null };
    return { activeId, canary: canary && !this.isFailed(canary.policyId) ? canary : null };
  }

  /** Records that a policy loaded here. */
  markLoaded(id: string): void {
    if (id === this.cached.activeId) this.fallbackId = id;
  }

  /** Records that a policy failed to load; true if another one serves in its place for now. */
  markFailed(id: string, reason: AttuneError): boolean {
    const { activeId, canary } = this.cached;
    const serving = id === canary?.policyId ? activeId : id === activeId ? this.fallbackId : null;
    if (serving === null || serving === id) return false;
    // Others have waited for the same attempt.
    if (this.isFailed(id)) return true;
    this.failed.set(id, Date.now() + RETRY_DELAY_MS);
    log.error(
      'policy',
      `${id} failed to load; still serving ${serving}, next attempt in ${RETRY_DELAY_MS / 1000} s: ${reason.message}`,
    );
    return true;
  }

  /** Makes a change visible at once in this isolate; others refresh within a second. */
  invalidate(): void {
    this.cached.untilMs = 0;
    this.failed.clear();
  }

  async findManifest(db: Database, id: string): Promise<Manifest> {
    const cached = this.manifests.get(id);
    if (cached) return cached;
    refuseReward(id);
    const manifest = await getManifest(db, id);
    this.manifests.set(id, manifest);
    if (this.manifests.size > MAX_MANIFESTS) this.manifests.delete(this.manifests.keys().next().value!);
    return manifest;
  }

  /** Whether it has failed to load a short while ago. */
  isFailed(id: string): boolean {
    const untilMs = this.failed.get(id);
    if (untilMs === undefined || Date.now() < untilMs) return untilMs !== undefined;
    this.failed.delete(id);
    return false;
  }
}
