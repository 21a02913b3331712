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

  /** Returns the next item. It stays next until it is shifted, even if others are pushed. */
  peek(): T | undefined {
    return this.queues.values().next().value?.[0];
  }

  shift(): T | undefined {
    const [tenant, queue] = this.queues.entries().next().value ?? ['', []];
    const item = queue.shift();
    this.queues.delete(tenant);
    if (queue.length > 0) this.queues.set(tenant, queue);
    if (item !== undefined) this.count--;
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
}
