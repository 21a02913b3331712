// The parts of JSON texts that a policy may generate. White space is bounded, so that a policy cannot go on with blanks
// forever: one space after a colon, and after a comma and inside brackets none, one, or a line break with indentation.
// Numbers without bounds have at most 15 digits before and after the point, which a float64 holds, and two in the exponent.
import {
  type CodePoints,
  codePoints,
  complement,
  LAST_CODE_POINT,
  SURROGATES,
  subtract,
  union,
  utf8,
} from './code-points.ts';
import type { Address, Fragment, ProgramBuilder } from './program.ts';

const MAX_SPACES = 32;
const MAX_TABS = 8;
/** Every decimal number of so many digits survives a float64. */
export const MAX_DIGITS = 15;

const CONTROLS: CodePoints = [[0, 0x1f]];
/** Decoders may take it for a byte order mark and drop it. */
const BYTE_ORDER_MARK: CodePoints = [[0xfeff, 0xfeff]];
/** Cannot stand in a string as they are, or should not. */
const ESCAPED = union(CONTROLS, codePoints('"\\'), BYTE_ORDER_MARK);
const PLAIN = subtract(complement(SURROGATES), ESCAPED);
const SHORT_ESCAPES: Record<string, string> = {
  '"': '"',
  '\\': '\\',
  '\b': 'b',
  '\f': 'f',
  '\n': 'n',
  '\r': 'r',
  '\t': 't',
};

export const ANY_CHARACTER: CodePoints = [[0, LAST_CODE_POINT]];

export class JsonText {
  readonly builder: ProgramBuilder;
  /** None, one space, or a line break with indentation. */
  readonly space: Fragment;
  /** A key's colon and at most one space. */
  readonly colon: Fragment;
  readonly string: Address;
  readonly number: Address;
  readonly integer: Address;
  readonly value: Address;
  readonly object: Address;
  /** A character of a string: as it is, or by any of its escapes. */
  private readonly character: Address;
  private readonly characters = new Map<string, Address>();

  constructor(builder: ProgramBuilder) {
    this.builder = builder;
    const indentation = builder.either(
      builder.repeat(builder.text(' '), 0, MAX_SPACES),
      builder.repeat(builder.text('\t'), 1, MAX_TABS),
    );
    this.space = builder.optional(builder.either(builder.text(' '), builder.sequence(builder.text('\n'), indentation)));
    this.colon = builder.sequence(builder.text(':'), builder.optional(builder.text(' ')));
    this.character = builder.define(
      builder.declare(),
      builder.either(utf8(builder, PLAIN), builder.sequence(builder.text('\\'), this.escape())),
    );
    this.string = this.define(this.text());
    const digit = builder.byte(0x30, 0x39);
    const whole = builder.sequence(builder.byte(0x31, 0x39), builder.repeat(digit, 0, MAX_DIGITS - 1));
    this.integer = this.define(
      builder.either(builder.text('0'), builder.sequence(builder.optional(builder.text('-')), whole)),
    );
    const fraction = builder.sequence(builder.text('.'), builder.repeat(digit, 1, MAX_DIGITS));
    const exponent = builder.sequence(
      builder.oneOf('eE'),
      builder.optional(builder.oneOf('+-')),
      builder.repeat(digit, 1, 2),
    );
    this.number = this.define(
      builder.sequence(
        builder.optional(builder.text('-')),
        builder.either(builder.text('0'), whole),
        builder.optional(fraction),
        builder.optional(exponent),
      ),
    );
    this.value = builder.declare();
    this.object = this.define(this.mapping(builder.rule(this.string), builder.rule(this.value)));
    const array = this.define(this.list(builder.rule(this.value), 0));
    const rules = [this.object, array, this.string, this.number].map((rule) => builder.rule(rule));
    builder.define(
      this.value,
      builder.either(...rules, builder.text('true'), builder.text('false'), builder.text('null')),
    );
  }

  /** A string of min to max characters, counted as code points. */
  text(min = 0, max?: number): Fragment {
    return this.quote(this.builder.repeat(this.builder.rule(this.character), min, max));
  }

  quote(content: Fragment): Fragment {
    return this.builder.sequence(this.builder.text('"'), content, this.builder.text('"'));
  }

  /** A character of the set, with an escape only if it needs one. */
  characterOf(set: CodePoints): Fragment {
    const { builder } = this;
    const key = set.join();
    const known = this.characters.get(key);
    if (known !== undefined) return builder.rule(known);
    const plain = utf8(builder, subtract(set, union(ESCAPED, SURROGATES)));
    const escaped = Array.from(expand(subtract(set, complement(ESCAPED))), (codePoint) =>
      builder.text(formatEscape(codePoint)),
    );
    const rule = this.define(builder.either(plain, ...escaped));
    this.characters.set(key, rule);
    return builder.rule(rule);
  }

  /** A string that is none of the given ones. */
  textExcept(words: string[]): Fragment {
    const { builder } = this;
    const quote = builder.text('"');
    const rest = builder.sequence(builder.repeat(builder.rule(this.character), 0), quote);
    const spell = (suffixes: string[][]): Fragment => {
      const byFirst = Map.groupBy(
        suffixes.filter(({ length }) => length > 0),
        ([first]) => first!,
      );
      const others = subtract(ANY_CHARACTER, codePoints([...byFirst.keys()].join('')));
      const continued = Array.from(byFirst, ([first, group]) =>
        builder.sequence(this.characterOf(codePoints(first)), spell(group.map((suffix) => suffix.slice(1)))),
      );
      const isWord = suffixes.some(({ length }) => length === 0);
      const end = isWord ? [] : [quote];
      return builder.either(...end, ...continued, builder.sequence(this.characterOf(others), rest));
    };
    return builder.sequence(quote, spell(words.map((word) => Array.from(word))));
  }

  list(item: Fragment, min: number, max?: number): Fragment {
    const { builder, space } = this;
    const close = builder.sequence(space, builder.text(']'));
    const more = builder.repeat(
      builder.sequence(builder.text(','), space, item),
      Math.max(0, min - 1),
      max === undefined ? max : max - 1,
    );
    const filled = builder.sequence(space, item, more, close);
    if (max !== undefined && max < min) return () => builder.fail;
    const content = max === 0 ? close : min > 0 ? filled : builder.either(filled, close);
    return builder.sequence(builder.text('['), content);
  }

  /** An object of any number of such keys with such values. */
  mapping(key: Fragment, value: Fragment): Fragment {
    const { builder, space } = this;
    const pair = builder.sequence(space, key, this.colon, value);
    const close = builder.sequence(space, builder.text('}'));
    const pairs = builder.sequence(pair, builder.repeat(builder.sequence(builder.text(','), pair), 0), close);
    return builder.sequence(builder.text('{'), builder.either(pairs, close));
  }

  /** The fragment as a rule, which exists once however often it is called. */
  define(fragment: Fragment): Address {
    return this.builder.define(this.builder.declare(), fragment);
  }

  /** What follows a backslash; of the escapes by number, no halves of surrogate pairs. */
  private escape(): Fragment {
    const { builder } = this;
    const hex = builder.oneOf('0123456789abcdefABCDEF');
    const hexes = (count: number) => builder.repeat(hex, count, count);
    const unit = builder.either(
      builder.sequence(builder.oneOf('0123456789abcefABCEF'), hexes(3)),
      builder.sequence(builder.oneOf('dD'), builder.oneOf('01234567'), hexes(2)),
    );
    const pair = builder.sequence(
      builder.oneOf('dD'),
      builder.oneOf('89abAB'),
      hexes(2),
      builder.text('\\u'),
      builder.oneOf('dD'),
      builder.oneOf('cdefCDEF'),
      hexes(2),
    );
    return builder.either(builder.oneOf('"\\/bfnrt'), builder.sequence(builder.text('u'), builder.either(unit, pair)));
  }
}

function* expand(set: CodePoints): Generator<number> {
  for (const [first, last] of set) for (let codePoint = first; codePoint <= last; codePoint++) yield codePoint;
}

function formatEscape(codePoint: number): string {
  const short = SHORT_ESCAPES[String.fromCodePoint(codePoint)];
  return `\\${short ?? `u${codePoint.toString(16).padStart(4, '0')}`}`;
}
