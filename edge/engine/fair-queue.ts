// A round-robin queue: tenants take turns, and each tenant's items are in order, so that a tenant with a thousand
// requests delays the others by one at a time. The queue's length is limited where requests are admitted.

export class FairQueue<T> {
  /** Keyed by tenant; the first tenant's first item is next. */
  private readonly queues = new Map<string, T[]>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  countOf(tenant: string): number {
    return this.queues.get(tenant)?.length ?? 0;
  }

  push(tenant: string, item: T): void {
    const queue = this.queues.get(tenant);
    if (queue) queue.push(item);
    else this.queues.set(tenant, [item]);
    this.count++;
  }

  /** Returns the next item of an eligible tenant. It stays next until it is shifted, even if others are pushed. */
  peek(isEligible: (tenant: string) => boolean = () => true): T | undefined {
    return this.findNext(isEligible)?.[1][0];
  }

  shift(isEligible: (tenant: string) => boolean = () => true): T | undefined {
    const [tenant, queue] = this.findNext(isEligible) ?? ['', []];
    const item = queue.shift();
    if (item === undefined) return undefined;
    this.queues.delete(tenant);
    if (queue.length > 0) this.queues.set(tenant, queue);
    this.count--;
    return item;
  }

  remove(shouldRemove: (item: T) => boolean): void {
    for (const [tenant, queue] of this.queues) {
      const rest = queue.filter((item) => !shouldRemove(item));
      this.count -= queue.length - rest.length;
      if (rest.length === 0) this.queues.delete(tenant);
      else if (rest.length < queue.length) this.queues.set(tenant, rest);
    }
  }

  private findNext(isEligible: (tenant: string) => boolean): [tenant: string, queue: T[]] | undefined {
    for (const entry of this.queues) if (isEligible(entry[0])) return entry;
    return undefined;
  }
}
