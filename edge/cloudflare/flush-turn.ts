// Whose turn it is to send what the requests of an isolate have counted together: one request's, at its end, for all.

/** A flush that takes longer is abandoned (its request may have been killed), and a later request flushes instead. */
const FLUSH_TIMEOUT_MS = 5000;

export class FlushTurn {
  private startedMs = 0;

  /** True for one caller at a time. */
  take(nowMs = Date.now()): boolean {
    if (nowMs - this.startedMs < FLUSH_TIMEOUT_MS) return false;
    this.startedMs = nowMs;
    return true;
  }

  end(): void {
    this.startedMs = 0;
  }
}
