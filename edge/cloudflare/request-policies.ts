// The policies of one request, each resolved once, so that placement and route use the same policy and the same canary even if a
// swap happens between them.

import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import type { Serving } from '../../shared/store/registry.ts';
import { isPolicyAtFault } from '../canary/policy-fault.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import { noActivePolicy } from '../engine/policy-errors.ts';
import type { RunningCanary } from '../ports.ts';
import type { ActivePolicy } from './active-policy.ts';

export class RequestPolicies {
  readonly db: Database;
  readonly active: ActivePolicy;
  private readonly onLoadFailure: (id: string) => void;
  private serving: Promise<Serving> | null = null;
  private readonly manifests = new Map<string, Promise<Manifest>>();

  constructor(db: Database, active: ActivePolicy, onLoadFailure: (id: string) => void = () => {}) {
    this.db = db;
    this.active = active;
    this.onLoadFailure = onLoadFailure;
  }

  getServing(): Promise<Serving> {
    this.serving ??= this.active.getServing(this.db);
    return this.serving;
  }

  /** The canary that runs, unless its candidate cannot be computed here. */
  async getCanary(): Promise<RunningCanary | null> {
    const { canary } = await this.getServing();
    if (!canary) return null;
    try {
      await this.getManifest(canary.policyId);
      return canary;
    } catch (error) {
      if (error instanceof AttuneError && this.fallBack(canary.policyId, error)) return null;
      throw error;
    }
  }

  /** A policy's manifest; `attune` is the policy to serve. */
  getManifest(model = ACTIVE_ALIAS): Promise<Manifest> {
    const manifest = this.manifests.get(model) ?? this.findManifest(model);
    this.manifests.set(model, manifest);
    return manifest;
  }

  /** Goes on without a policy that failed to load: the active one, or a canary's; false if nothing serves in its place. */
  fallBack(id: string, reason: AttuneError): boolean {
    const isKnown = this.active.isFailed(id);
    if (!this.active.markFailed(id, reason)) return false;
    if (!isKnown && isPolicyAtFault(reason)) this.onLoadFailure(id);
    this.serving = null;
    this.manifests.clear();
    return true;
  }

  private async findManifest(model: string): Promise<Manifest> {
    if (model !== ACTIVE_ALIAS) return this.active.findManifest(this.db, model);
    const { activeId } = await this.getServing();
    if (activeId === null) throw noActivePolicy();
    try {
      return await this.active.findManifest(this.db, activeId);
    } catch (error) {
      if (error instanceof AttuneError && this.fallBack(activeId, error)) return this.findManifest(model);
      throw error;
    }
  }
}
