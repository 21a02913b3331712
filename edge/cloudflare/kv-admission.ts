// Who may decode in this isolate: generations enter in the order in which they come, begin where their keys and values
// have room beside those of the others, and leave. Nobody waits on another request here: each looks for itself, and one
// that has not been seen for a while is gone, because a request whose client left dies without a word.
import { AttuneError } from '../../shared/error.ts';

export type AdmissionOptions = { kvMemory: number; maxRows: number; maxQueue: number };

/** What a generation runs on, and what it needs. */
export type ReservationRequest = { readonly policy: object; readonly bytes: number; readonly choices: number };
/** A generation that is here, and when it last showed that it lives. */
export type Reservation = ReservationRequest & { lastSeenMs: number; hasStarted: boolean };

/** Milliseconds for which nothing may be seen of a generation, and how many more for each that takes turns with it. */
const SILENCE_TIMEOUT_MS = 3000;
const TIMEOUT_PER_RESERVATION_MS = 500;

export class KvAdmission {
  /** In the order in which they came. */
  private readonly reservations = new Set<Reservation>();
  private readonly options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.options = options;
  }

  /** Throws where too many run or wait. One alone is always let in. */
  reserve(need: ReservationRequest): Reservation {
    this.dropExpired();
    const { maxRows, maxQueue } = this.options;
    const load = sum([...this.reservations], 'choices');
    if (load > 0 && load + need.choices > maxRows + maxQueue) {
      throw new AttuneError(
        `generation: ${load} generations run or wait, and there is room for ${maxRows + maxQueue}; try again soon`,
        { status: 429, code: 'queue_full', retry: true },
      );
    }
    const stay = { ...need, lastSeenMs: Date.now(), hasStarted: false };
    this.reservations.add(stay);
    return stay;
  }

  /** Whether it may begin now. */
  tryStart(stay: Reservation): boolean {
    this.touch(stay);
    this.dropExpired();
    const all = [...this.reservations];
    const first = all.find(({ hasStarted: hasBegun }) => !hasBegun);
    if (first !== stay) return false;
    const begun = all.filter(({ hasStarted: hasBegun }) => hasBegun);
    const isFull =
      begun.length > 0 &&
      (sum(begun, 'bytes') + stay.bytes > this.options.kvMemory ||
        sum(begun, 'choices') + stay.choices > this.options.maxRows);
    stay.hasStarted = !isFull;
    return stay.hasStarted;
  }

  /** Notes that it lives; one that was taken for dead is here again. */
  touch(stay: Reservation): void {
    stay.lastSeenMs = Date.now();
    this.reservations.add(stay);
  }

  release(stay: Reservation): void {
    this.reservations.delete(stay);
  }

  isInUse(policy: object): boolean {
    this.dropExpired();
    return [...this.reservations].some((stay) => stay.policy === policy);
  }

  private dropExpired(): void {
    const oldest = Date.now() - SILENCE_TIMEOUT_MS - TIMEOUT_PER_RESERVATION_MS * this.reservations.size;
    for (const stay of this.reservations) if (stay.lastSeenMs < oldest) this.reservations.delete(stay);
  }
}

function sum(stays: Reservation[], field: 'bytes' | 'choices'): number {
  return stays.reduce((total, stay) => total + stay[field], 0);
}
