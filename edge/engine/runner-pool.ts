// What is loaded on demand, by id: the least recently used one makes room for another, and ends once nobody
// needs it; so does, with `idleMs`, one that nobody has asked for in that time.
import { LRUCache } from 'lru-cache';

/** `retire` resolves when it has finished its work and freed its memory. */
type Runner = { readonly id: string; retire(): Promise<void> };

export class RunnerPool<R extends Runner> {
  private readonly load: (id: string) => Promise<R>;
  /** Loaded or loading. */
  private readonly loaded: LRUCache<string, Promise<R>>;
  /** Taken out or evicted, and draining. */
  private readonly retiring = new Map<R, Promise<void>>();

  constructor(max: number, load: (id: string) => Promise<R>, idleMs = 0) {
    this.load = load;
    this.loaded = new LRUCache({
      max,
      ttl: idleMs,
      ttlAutopurge: idleMs > 0,
      updateAgeOnGet: true,
      dispose: (evicted, _id, reason) => {
        if (reason !== 'evict' && reason !== 'expire') return;
        evicted.then(
          (runner) => this.retire(runner),
          () => {},
        );
      },
    });
  }

  /** Of those that are loaded, loading or draining. */
  get ids(): string[] {
    return [...this.loaded.keys(), ...Array.from(this.retiring.keys(), ({ id }) => id)];
  }

  has(id: string): boolean {
    return this.loaded.has(id);
  }

  /** Keeps a runner that was loaded elsewhere. */
  put(runner: R): void {
    this.loaded.set(runner.id, Promise.resolve(runner));
  }

  get(id: string): Promise<R> {
    const loaded = this.loaded.get(id);
    if (loaded) return loaded;
    const loading = this.load(id);
    this.loaded.set(id, loading);
    loading.catch(() => {
      if (this.loaded.peek(id) === loading) this.loaded.delete(id);
    });
    return loading;
  }

  /** Takes a runner out of the pool; the caller retires it later. */
  async take(id: string): Promise<R> {
    const runner = await this.get(id);
    this.loaded.delete(id);
    return runner;
  }

  retire(runner: R): void {
    this.retiring.set(
      runner,
      runner.retire().finally(() => this.retiring.delete(runner)),
    );
  }

  /** Retires all; resolves when they have ended. `onRetire` is called for each before that. */
  async retireAll(onRetire: (runner: R) => void = () => {}): Promise<void> {
    const loads = await Promise.allSettled(this.loaded.values());
    for (const load of loads) if (load.status === 'fulfilled') this.retire(load.value);
    this.loaded.clear();
    for (const runner of this.retiring.keys()) onRetire(runner);
    await Promise.all(this.retiring.values());
  }
}
