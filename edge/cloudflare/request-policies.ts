// The policies of one request, each resolved once, so that placement and route use the same policy even if a swap happens
// between them.

import type { Database } from '../../shared/database/connect.ts';
import type { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import type { ActivePolicy } from './active-policy.ts';

export class RequestPolicies {
  readonly db: Database;
  readonly active: ActivePolicy;
  private readonly manifests = new Map<string, Promise<Manifest>>();

  constructor(db: Database, active: ActivePolicy) {
    this.db = db;
    this.active = active;
  }

  /** A policy's manifest; `attune` is the policy to serve. */
  getManifest(model = ACTIVE_ALIAS): Promise<Manifest> {
    const manifest = this.manifests.get(model) ?? this.active.getManifest(this.db, model);
    this.manifests.set(model, manifest);
    return manifest;
  }

  /** Switches to the previous policy after the active one failed to load; false if there is none. */
  async fallBack(reason: AttuneError): Promise<boolean> {
    const active = await this.manifests.get(ACTIVE_ALIAS);
    if (!active || !this.active.markFailed(active.id, reason)) return false;
    this.manifests.delete(ACTIVE_ALIAS);
    return true;
  }
}
