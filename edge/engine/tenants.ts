// Whether several tenants use this process. One alone may take all of its places; as soon as there are two, each has a share
// of them (admission.ts). Which tenants there are is seen from their requests, because keys are created while it runs.

/** A tenant that has sent nothing for so long does not count. */
const RECENT_MS = 10 * 60_000;

export class Tenants {
  private readonly isAlwaysShared: boolean;
  private latest: string | null = null;
  /** When a request followed one of another tenant. */
  private changedMs = -Infinity;

  /** `isAlwaysShared`: several are known to exist. */
  constructor(isAlwaysShared = false) {
    this.isAlwaysShared = isAlwaysShared;
  }

  see(tenant: string): void {
    // By Date, because a Worker's performance clock does not advance.
    if (this.latest !== null && this.latest !== tenant) this.changedMs = Date.now();
    this.latest = tenant;
  }

  get isShared(): boolean {
    return this.isAlwaysShared || Date.now() - this.changedMs < RECENT_MS;
  }
}
