// The instructions that describe which bytes a text may consist of: a nondeterministic automaton with a stack, as plain
// data that can be sent between threads. Fragments are composed from the end: each takes the address of what follows it
// (Thompson, Regular expression search algorithm, 1968; with calls, as in recursive transition networks).

export const Op = {
  /** matches nothing */
  fail: 0,
  /** ends a rule: on to what called or repeats it; without a caller the text is complete */
  return: 1,
  /** a byte of a..b, then c */
  byte: 2,
  /** a or b */
  split: 3,
  /** the rule a, then b */
  call: 4,
  /** the rule a, c to d times, then b */
  repeat: 5,
  /** on at a */
  jump: 6,
} as const;

/** Numbers per instruction: the operation, a, b, c, d. */
export const STRIDE = 5;

/** `source` identifies the grammar: equal sources have equal instructions. */
export type Grammar = { source: string; code: Int32Array; start: number };

/** The index of an instruction. */
export type Address = number;

/** A part of a text: takes the address of what follows, returns its own. */
export type Fragment = (next: Address) => Address;

/** As many times as a text can have it: more than any context has tokens. */
export const UNLIMITED = 2 ** 30;

/** Bounds the time of compiling, and the memory and time of each step. */
export const MAX_INSTRUCTIONS = 2 ** 17;

export class ProgramTooLarge extends Error {}

const encoder = new TextEncoder();

export class ProgramBuilder {
  readonly end: Address;
  readonly fail: Address;
  private readonly code: number[] = [];
  /** Equal instructions are stored once, so that equal continuations are one state. */
  private readonly addresses = new Map<number | string, Address>();

  constructor() {
    this.fail = this.emit(Op.fail);
    this.end = this.emit(Op.return);
  }

  toGrammar(source: string, start: Address): Grammar {
    return { source, code: Int32Array.from(this.code), start };
  }

  /** The address of a rule whose instructions follow later: see define. */
  declare(): Address {
    return this.append([Op.jump, this.fail, 0, 0, 0]);
  }

  define(rule: Address, body: Fragment): Address {
    this.code[rule * STRIDE + 1] = body(this.end);
    return rule;
  }

  byte(low: number, high = low): Fragment {
    return (next) => (low > high || next === this.fail ? this.fail : this.emit(Op.byte, low, high, next));
  }

  text(text: string): Fragment {
    const bytes = encoder.encode(text);
    return (next) => bytes.reduceRight((after, byte) => this.byte(byte)(after), next);
  }

  /** One of the characters of an ASCII text. */
  oneOf(characters: string): Fragment {
    return this.either(...Array.from(characters, (character) => this.text(character)));
  }

  sequence(...fragments: Fragment[]): Fragment {
    return (next) => fragments.reduceRight((after, fragment) => fragment(after), next);
  }

  either(...fragments: Fragment[]): Fragment {
    return (next) => fragments.reduceRight((other, fragment) => this.split(fragment(next), other), this.fail);
  }

  optional(fragment: Fragment): Fragment {
    return (next) => this.split(fragment(next), next);
  }

  rule(rule: Address): Fragment {
    // Nothing follows: no need to come back. A rule that refers to itself first does not fill the stack.
    return (next) => (next === this.end ? rule : this.emit(Op.call, rule, next));
  }

  repeat(fragment: Fragment, min: number, max: number = UNLIMITED): Fragment {
    const [least, most] = [Math.min(min, UNLIMITED), Math.min(max, UNLIMITED)];
    if (least > most) return () => this.fail;
    if (most === 0) return (next) => next;
    if (least === 1 && most === 1) return fragment;
    return (next) => this.emit(Op.repeat, fragment(this.end), next, least, most);
  }

  private split(a: Address, b: Address): Address {
    if (a === this.fail || a === b) return b;
    return b === this.fail ? a : this.emit(Op.split, a, b);
  }

  private emit(op: number, a = 0, b = 0, c = 0, d = 0): Address {
    // Every operand but the counts of a repetition is below 2^18; only a byte has three.
    const operands = op === Op.byte ? (c * 256 + a) * 256 + b : a * 2 ** 18 + b;
    const key = op === Op.repeat ? `${operands},${c},${d}` : operands * 8 + op;
    const known = this.addresses.get(key);
    if (known !== undefined) return known;
    const address = this.append([op, a, b, c, d]);
    this.addresses.set(key, address);
    return address;
  }

  private append(instruction: number[]): Address {
    const address = this.code.length / STRIDE;
    if (address >= MAX_INSTRUCTIONS) throw new ProgramTooLarge();
    this.code.push(...instruction);
    return address;
  }
}
