// Those who wait for their turn: tenant by tenant, and in order within one, so that somebody with a thousand requests
// delays somebody with one by one. How many may wait is decided where requests are refused.

export class FairQueue<T> {
  /** The first tenant's first item is next. */
  private readonly queues = new Map<string, T[]>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  push(tenant: string, item: T): void {
    const line = this.queues.get(tenant);
    if (line) line.push(item);
    else this.queues.set(tenant, [item]);
    this.count++;
  }

  /** Who is next, and stays it until taken. */
  peek(): T | undefined {
    return this.queues.values().next().value?.[0];
  }

  shift(): T | undefined {
    const [tenant, line] = this.queues.entries().next().value ?? ['', []];
    const item = line.shift();
    this.queues.delete(tenant);
    if (line.length > 0) this.queues.set(tenant, line);
    if (item !== undefined) this.count--;
    return item;
  }

  remove(isGone: (item: T) => boolean): void {
    for (const [tenant, line] of this.queues) {
      const rest = line.filter((item) => !isGone(item));
      this.count -= line.length - rest.length;
      if (rest.length === 0) this.queues.delete(tenant);
      else if (rest.length < line.length) this.queues.set(tenant, rest);
    }
  }
}
