// Who may decode in this isolate: generations enter in the order in which they come, begin where their keys and values
// have room beside those of the others, and leave. Nobody waits on another request here: each looks for itself, and one
// that has not been seen for a while is gone, because a request whose client left dies without a word.
import { AttuneError } from '../../shared/error.ts';

export type RoomOptions = { kvMemory: number; maxRows: number; maxQueue: number };

/** What a generation runs on, and what it needs. */
export type Need = { readonly policy: object; readonly bytes: number; readonly choices: number };
/** A generation that is here, and when it last showed that it lives. */
export type Stay = Need & { seen: number; hasBegun: boolean };

/** Milliseconds for which nothing may be seen of a generation, and how many more for each that takes turns with it. */
const PATIENCE = 3000;
const TURN = 500;

export class Room {
  /** In the order in which they came. */
  private readonly stays = new Set<Stay>();
  private readonly options: RoomOptions;

  constructor(options: RoomOptions) {
    this.options = options;
  }

  /** Throws where too many run or wait. One alone is always let in. */
  enter(need: Need): Stay {
    this.dropDead();
    const { maxRows, maxQueue } = this.options;
    const load = sum([...this.stays], 'choices');
    if (load > 0 && load + need.choices > maxRows + maxQueue) {
      throw new AttuneError(
        `generation: ${load} generations run or wait, and there is room for ${maxRows + maxQueue}; try again soon`,
        { status: 429, code: 'queue_full', retry: true },
      );
    }
    const stay = { ...need, seen: Date.now(), hasBegun: false };
    this.stays.add(stay);
    return stay;
  }

  /** Whether it may begin now. */
  begin(stay: Stay): boolean {
    this.see(stay);
    this.dropDead();
    const all = [...this.stays];
    const first = all.find(({ hasBegun }) => !hasBegun);
    if (first !== stay) return false;
    const begun = all.filter(({ hasBegun }) => hasBegun);
    const isFull =
      begun.length > 0 &&
      (sum(begun, 'bytes') + stay.bytes > this.options.kvMemory ||
        sum(begun, 'choices') + stay.choices > this.options.maxRows);
    stay.hasBegun = !isFull;
    return stay.hasBegun;
  }

  /** Notes that it lives; one that was taken for dead is here again. */
  see(stay: Stay): void {
    stay.seen = Date.now();
    this.stays.add(stay);
  }

  leave(stay: Stay): void {
    this.stays.delete(stay);
  }

  isUsed(policy: object): boolean {
    this.dropDead();
    return [...this.stays].some((stay) => stay.policy === policy);
  }

  private dropDead(): void {
    const oldest = Date.now() - PATIENCE - TURN * this.stays.size;
    for (const stay of this.stays) if (stay.seen < oldest) this.stays.delete(stay);
  }
}

function sum(stays: Stay[], field: 'bytes' | 'choices'): number {
  return stays.reduce((total, stay) => total + stay[field], 0);
}
