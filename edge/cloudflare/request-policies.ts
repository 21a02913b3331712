// The policies of one request, each looked up once: where a swap comes in the middle of it, the place where it is
// computed and the route that computes it still mean the same policy.

import type { Database } from '../../shared/database/connect.ts';
import type { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import type { ActivePolicy } from './active-policy.ts';

export class RequestPolicies {
  readonly db: Database;
  readonly active: ActivePolicy;
  private readonly manifests = new Map<string, Promise<Manifest>>();

  constructor(db: Database, active: ActivePolicy) {
    this.db = db;
    this.active = active;
  }

  /** Without an id, or with `attune`, the one that answers. */
  getManifest(asked = 'attune'): Promise<Manifest> {
    const manifest = this.manifests.get(asked) ?? this.active.getManifest(this.db, asked);
    this.manifests.set(asked, manifest);
    return manifest;
  }

  /** Whether another policy answers in place of the active one, which could not be loaded. */
  async fallBack(reason: AttuneError): Promise<boolean> {
    const active = await this.manifests.get('attune');
    if (!active || !this.active.markFailed(active.id, reason)) return false;
    this.manifests.delete('attune');
    return true;
  }
}
