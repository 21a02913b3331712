// Admission control for the generations of this isolate: first come, first served, and each starts once its keys and
// values fit into memory beside those of the others. In a Worker a request cannot await another request, so each polls.
// A reservation that has not been touched for a while is dropped, because a request whose client disconnects can die
// without running any cleanup.
import { type AdmissionLimits, validatePlaces } from '../engine/admission.ts';

export type AdmissionOptions = AdmissionLimits & { kvMemoryBytes: number };

/** What a generation needs, and for whom: its policy, bytes of keys and values, and the rows of its choices. */
type ReservationRequest = {
  readonly policy: object;
  readonly bytes: number;
  readonly choices: number;
  readonly tenant?: string | undefined;
  /** See GenerationInput. */
  readonly submitted?: number | undefined;
  /** See ScoreWaiter. */
  readonly isAdmitted?: boolean | undefined;
};
export type Reservation = ReservationRequest & { lastSeenMs: number; hasStarted: boolean };

/** How long a reservation may go untouched: this, and a little more for each reservation that shares the thread. */
const UNTOUCHED_TIMEOUT_MS = 3000;
const EXTRA_TIMEOUT_PER_RESERVATION_MS = 500;

export class KvAdmission {
  /** In order of arrival. */
  private readonly reservations = new Set<Reservation>();
  private readonly options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.options = options;
  }

  /** Throws `queue_full` if too many generations run or wait. A single one is always admitted. */
  reserve(request: ReservationRequest): Reservation {
    this.dropExpired();
    const all = [...this.reservations];
    const held = sum(all, 'choices');
    const own = sum(
      all.filter(({ tenant }) => tenant === request.tenant),
      'choices',
    );
    if (!request.isAdmitted)
      validatePlaces({ held, own: own - (request.submitted ?? 0), added: request.choices }, this.options);
    const reservation = { ...request, lastSeenMs: Date.now(), hasStarted: false };
    this.reservations.add(reservation);
    return reservation;
  }

  /** Starts the reservation if it is the next one and fits; returns whether it started. */
  tryStart(reservation: Reservation): boolean {
    this.touch(reservation);
    this.dropExpired();
    const all = [...this.reservations];
    const next = all.find(({ hasStarted }) => !hasStarted);
    if (next !== reservation) return false;
    const started = all.filter(({ hasStarted }) => hasStarted);
    const isFull =
      started.length > 0 &&
      (sum(started, 'bytes') + reservation.bytes > this.options.kvMemoryBytes ||
        sum(started, 'choices') + reservation.choices > this.options.maxRows);
    reservation.hasStarted = !isFull;
    return reservation.hasStarted;
  }

  /** Records that the generation is still running. An expired reservation is restored. */
  touch(reservation: Reservation): void {
    reservation.lastSeenMs = Date.now();
    this.reservations.add(reservation);
  }

  release(reservation: Reservation): void {
    this.reservations.delete(reservation);
  }

  isInUse(policy: object): boolean {
    this.dropExpired();
    return [...this.reservations].some((reservation) => reservation.policy === policy);
  }

  private dropExpired(): void {
    const oldestMs = Date.now() - UNTOUCHED_TIMEOUT_MS - EXTRA_TIMEOUT_PER_RESERVATION_MS * this.reservations.size;
    for (const reservation of this.reservations)
      if (reservation.lastSeenMs < oldestMs) this.reservations.delete(reservation);
  }
}

function sum(reservations: Reservation[], field: 'bytes' | 'choices'): number {
  return reservations.reduce((total, reservation) => total + reservation[field], 0);
}
