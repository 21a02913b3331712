// How often an address may send wrong API keys and invitations. Over the limit they are refused unread, which stops guessing and keeps
// Postgres from looking for them; hashing one takes a microsecond. Behind a proxy all clients may have one address: a key
// that was accepted from there stays accepted, so an attacker beside them locks no key out that is in use, and a new key
// waits for the next minute. Such a key is still looked up, so that it can be revoked.
//
// Counted here and not by rate-limiter-flexible, whose memory has no bound on addresses, and needs timers, which do not fire
// in a Worker between requests.
import { LRUCache } from 'lru-cache';
import { AttuneError } from '../shared/error.ts';

const WINDOW_MS = 60_000;
/** Since its last use from the address. */
const ACCEPTED_MS = 600_000;
const MAX_ENTRIES = 10_000;

export class WrongKeys {
  private readonly perMinute: number;
  private readonly wrong = new LRUCache<string, { count: number; endsAtMs: number }>({ max: MAX_ENTRIES });
  private readonly accepted = new LRUCache<string, number>({ max: MAX_ENTRIES });

  constructor(perMinute: number) {
    this.perMinute = perMinute;
  }

  /** Throws a 429 if this key or invitation, by its hash, may not be tried now. */
  check(address: string, digest: string): void {
    const { count, endsAtMs } = this.getWindow(toNetwork(address));
    if (count < this.perMinute) return;
    const acceptedAtMs = this.accepted.get(`${toNetwork(address)} ${digest}`) ?? -Infinity;
    if (Date.now() - acceptedAtMs < ACCEPTED_MS) return;
    const retryAfterMs = endsAtMs - Date.now();
    throw new AttuneError(
      `too many wrong API keys or invitations from this address; wait ${Math.ceil(retryAfterMs / 1000)} seconds, and check them`,
      { status: 429, code: 'too_many_wrong_keys', retry: true, retryAfterMs },
    );
  }

  accept(address: string, digest: string): void {
    this.accepted.set(`${toNetwork(address)} ${digest}`, Date.now());
  }

  count(address: string): void {
    const network = toNetwork(address);
    const { count, endsAtMs } = this.getWindow(network);
    this.wrong.set(network, { count: count + 1, endsAtMs });
  }

  private getWindow(network: string): { count: number; endsAtMs: number } {
    const window = this.wrong.get(network);
    return window && window.endsAtMs > Date.now() ? window : { count: 0, endsAtMs: Date.now() + WINDOW_MS };
  }
}

/** Of IPv6 the /64, of which one client has all addresses. */
function toNetwork(address: string): string {
  const [, mapped] = /^::ffff:([\d.]+)$/i.exec(address) ?? [];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  return address.split('::')[0]!.split(':').slice(0, 4).join(':');
}
