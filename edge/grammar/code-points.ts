// Sets of Unicode code points as sorted ranges, and their UTF-8 as byte ranges.
import type { Fragment, ProgramBuilder } from './program.ts';

/** Ranges [first, last], sorted, none adjacent to the next. */
export type CodePoints = readonly (readonly [number, number])[];

export const LAST_CODE_POINT = 0x10ffff;

export function union(...sets: CodePoints[]): CodePoints {
  const merged: [number, number][] = [];
  for (const [first, last] of sets.flat().sort((a, b) => a[0] - b[0])) {
    const previous = merged.at(-1);
    if (previous && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

export function complement(set: CodePoints): CodePoints {
  const rest: [number, number][] = [];
  let from = 0;
  for (const [first, last] of set) {
    if (first > from) rest.push([from, first - 1]);
    from = last + 1;
  }
  if (from <= LAST_CODE_POINT) rest.push([from, LAST_CODE_POINT]);
  return rest;
}

export function subtract(set: CodePoints, other: CodePoints): CodePoints {
  return complement(union(complement(set), other));
}

export function codePoints(text: string): CodePoints {
  return union(
    Array.from(text, (character) => [character.codePointAt(0)!, character.codePointAt(0)!] as [number, number]),
  );
}

/** Has no UTF-8. */
export const SURROGATES: CodePoints = [[0xd800, 0xdfff]];

/** The first code points with one byte more than those before. */
const LENGTH_STARTS = [0, 0x80, 0x800, 0x10000, LAST_CODE_POINT + 1];

/** One character of the set, which has no surrogates. */
export function utf8(builder: ProgramBuilder, set: CodePoints): Fragment {
  const fragments: Fragment[] = [];
  for (let length = 1; length <= 4; length++) {
    const [start, end] = [LENGTH_STARTS[length - 1]!, LENGTH_STARTS[length]! - 1];
    for (const [first, last] of set) {
      const [low, high] = [Math.max(first, start), Math.min(last, end)];
      if (low <= high) fragments.push(encodeRange(builder, low, high, length));
    }
  }
  return builder.either(...fragments);
}

/** The code points low..high, whose UTF-8 has `length` bytes: split until every byte but the first ones is 80..BF. */
function encodeRange(builder: ProgramBuilder, low: number, high: number, length: number): Fragment {
  for (let tail = 1; tail < length; tail++) {
    const mask = 2 ** (6 * tail) - 1;
    // The last `tail` bytes are independent of the rest only if they take all of their values, or the rest is fixed.
    if ((low & ~mask) === (high & ~mask)) continue;
    const cut = (low & mask) !== 0 ? (low | mask) + 1 : (high & mask) !== mask ? high & ~mask : null;
    if (cut === null) continue;
    return builder.either(encodeRange(builder, low, cut - 1, length), encodeRange(builder, cut, high, length));
  }
  const [lows, highs] = [toUtf8(low), toUtf8(high)];
  return builder.sequence(...lows.map((byte, at) => builder.byte(byte, highs[at]!)));
}

function toUtf8(codePoint: number): number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(codePoint))];
}
