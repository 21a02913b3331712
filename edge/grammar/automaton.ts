// Runs a grammar over bytes. A state is the set of places at which a text may be, each an instruction and a stack of callers
// (Thompson's simulation); states and their transitions are made when they are first needed and kept, as in a lazy DFA
// (Cox, Regular Expression Matching in the Wild, 2010), so that most bytes cost one look-up.
import type { AttuneError } from '../../shared/error.ts';
import { type Address, type Grammar, Op, STRIDE, UNLIMITED } from './program.ts';
import { refuse } from './refuse.ts';

/**
 * To where a rule returns; or a repetition, with how many are still needed and allowed, the current one included. Of a rule
 * none is allowed.
 */
type Frame = { id: number; address: Address; needed: number; allowed: number; caller: Frame | null };

/** A byte instruction, and the stack on which its rule returns. */
type Place = { address: Address; stack: Frame | null };

export type State = {
  places: Place[];
  /** Whether the text may end here. */
  isComplete: boolean;
  /** By class of bytes; null: no text goes on so. */
  edges: (State | null | undefined)[];
};

/** Places of kept states, and so much for each state itself; beyond it, all are made again. */
const MAX_KEPT = 500_000;
const STATE_SIZE = 50;
/** Places that are looked at until one token is sampled. Only ambiguous grammars have more: they would stall the others. */
const MAX_WORK = 300_000;

function tooAmbiguous(): AttuneError {
  return refuse('response_format', 'the schema is too ambiguous: too many of its alternatives begin alike; merge them');
}

export class Automaton {
  readonly start: State;
  private readonly code: Int32Array;
  /** Bytes that no instruction distinguishes have one class. */
  private readonly classes: Uint8Array;
  private readonly classCount: number;
  private frames = new Map<string, Frame>();
  private states = new Map<string, State>();
  private frameCount = 0;
  private work = 0;
  private kept = 0;

  constructor({ code, start }: Grammar) {
    this.code = code;
    [this.classes, this.classCount] = classifyBytes(code);
    this.start = this.makeState([{ address: start, stack: null }]);
  }

  /** Call it before each token. */
  resetWork(): void {
    this.work = 0;
  }

  /** The state after one more byte; null if no text goes on so. */
  advance(state: State, byte: number): State | null {
    const { edges } = state;
    const edge = edges[this.classes[byte]!];
    if (edge !== undefined) return edge;
    const { code } = this;
    const followers: Place[] = [];
    for (const { address, stack } of state.places) {
      const at = address * STRIDE;
      if (byte >= code[at + 1]! && byte <= code[at + 2]!) followers.push({ address: code[at + 3]!, stack });
    }
    const next = followers.length === 0 ? null : this.makeState(followers);
    edges[this.classes[byte]!] = next;
    return next;
  }

  /**
   * The state with counts of at most `count`: the next `count` bytes cannot tell them apart. So the states of a long string
   * or list share what is known about their next token.
   */
  limitCounts(state: State, count: number): State {
    const limits = new Map<Frame, Frame>();
    const limit = (frame: Frame | null): Frame | null => {
      if (frame === null) return null;
      const known = limits.get(frame);
      if (known) return known;
      const allowed = frame.allowed === UNLIMITED ? UNLIMITED : Math.min(frame.allowed, count);
      const limited = this.push(frame.address, Math.min(frame.needed, count), allowed, limit(frame.caller));
      limits.set(frame, limited);
      return limited;
    };
    const places = state.places.map(({ address, stack }) => ({ address, stack: limit(stack) }));
    return places.every(({ stack }, at) => stack === state.places[at]!.stack)
      ? state
      : this.keepState(places, state.isComplete);
  }

  /** Follows everything that takes no byte. */
  private makeState(pending: Place[]): State {
    const { code } = this;
    const places: Place[] = [];
    const seen = new Set<number>();
    const count = code.length / STRIDE;
    let isComplete = false;
    const repeat = (address: Address, needed: number, allowed: number, stack: Frame | null) => {
      if (needed === 0) pending.push({ address: code[address * STRIDE + 2]!, stack });
      if (allowed > 0)
        pending.push({ address: code[address * STRIDE + 1]!, stack: this.push(address, needed, allowed, stack) });
    };
    for (let place = pending.pop(); place; place = pending.pop()) {
      const { address, stack } = place;
      const key = (stack?.id ?? 0) * count + address;
      if (seen.has(key)) continue;
      seen.add(key);
      if (++this.work > MAX_WORK) throw tooAmbiguous();
      const at = address * STRIDE;
      const [op, a, b] = [code[at]!, code[at + 1]!, code[at + 2]!];
      if (op === Op.byte) places.push(place);
      else if (op === Op.jump) pending.push({ address: a, stack });
      else if (op === Op.split) pending.push({ address: b, stack }, { address: a, stack });
      else if (op === Op.call) pending.push({ address: a, stack: this.push(b, 0, 0, stack) });
      else if (op === Op.repeat) repeat(address, code[at + 3]!, code[at + 4]!, stack);
      else if (op === Op.return && stack === null) isComplete = true;
      else if (op === Op.return && stack!.allowed > 0) {
        const { needed, allowed, caller } = stack!;
        repeat(stack!.address, Math.max(0, needed - 1), allowed === UNLIMITED ? UNLIMITED : allowed - 1, caller);
      } else if (op === Op.return) pending.push({ address: stack!.address, stack: stack!.caller });
    }
    return this.keepState(places, isComplete);
  }

  private keepState(places: Place[], isComplete: boolean): State {
    const keys = places.map(({ address, stack }) => `${address}:${stack?.id ?? 0}`).sort();
    const key = `${isComplete}${keys.join()}`;
    const known = this.states.get(key);
    if (known) return known;
    this.kept += places.length + STATE_SIZE;
    if (this.kept > MAX_KEPT) {
      this.kept = 0;
      this.states = new Map();
      this.frames = new Map();
    }
    const state: State = { places, isComplete, edges: new Array(this.classCount) };
    this.states.set(key, state);
    return state;
  }

  private push(address: Address, needed: number, allowed: number, caller: Frame | null): Frame {
    const key = `${address},${needed},${allowed},${caller?.id ?? 0}`;
    const known = this.frames.get(key);
    if (known) return known;
    const frame = { id: ++this.frameCount, address, needed, allowed, caller };
    this.frames.set(key, frame);
    return frame;
  }
}

function classifyBytes(code: Int32Array): [classes: Uint8Array, count: number] {
  const isStart = new Uint8Array(257);
  for (let at = 0; at < code.length; at += STRIDE) {
    if (code[at] !== Op.byte) continue;
    isStart[code[at + 1]!] = 1;
    isStart[code[at + 2]! + 1] = 1;
  }
  const classes = new Uint8Array(256);
  let count = 0;
  for (let byte = 0; byte < 256; byte++) {
    if (byte > 0 && isStart[byte]) count++;
    classes[byte] = count;
  }
  return [classes, count + 1];
}
