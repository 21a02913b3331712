// Decimal numbers between two bounds, digit by digit: a state knows how many digits were written and whether they are still
// those of the lower or of the upper bound. A decimal number that is not above a bound is not above it as a float64 either,
// because rounding is monotone; one that differs from it in its first 15 digits stays different.
import { MAX_DIGITS } from './json-text.ts';
import type { Address, Fragment, ProgramBuilder } from './program.ts';

export type Bound = { value: number; isExclusive: boolean };
export type NumberRange = { min: Bound | null; max: Bound | null };

/** A bound's magnitude as digits: `value` · 10^-scale. */
type Limit = { value: bigint; isExclusive: boolean };

/**
 * Numbers with at most `decimals` digits after the point; null: as many as a float64 holds. Without a bound they have at
 * most 15 digits before the point, or as many as the other bound.
 */
export function numberRange(builder: ProgramBuilder, range: NumberRange, decimals: number | null): Fragment {
  const scale = decimals ?? getScale(range);
  const largest = { value: 10n ** BigInt(Math.max(MAX_DIGITS, countWholeDigits(range)) + scale), isExclusive: true };
  const min = range.min ? toLimit(range.min, scale, 'up') : negate(largest);
  const max = range.max ? toLimit(range.max, scale, 'down') : largest;
  const zero = { value: 0n, isExclusive: false };
  const magnitudes = (low: Limit, high: Limit) => between(builder, low, high, scale);
  const positive = magnitudes(isBelowZero(min) ? zero : min, max);
  const negative = magnitudes(isBelowZero(max) ? negate(max) : { ...zero, isExclusive: true }, negate(min));
  return builder.either(
    ...(isBelowZero(max) ? [] : [positive]),
    ...(isBelowZero(min) ? [builder.sequence(builder.text('-'), negative)] : []),
  );
}

/** Digits after the point: with those before it 15, or as many as a bound has that is in the range. */
function getScale(range: NumberRange): number {
  const inclusive = [range.min, range.max].filter((bound) => bound !== null && !bound.isExclusive);
  const scales = inclusive.map((bound) => toDecimal(bound!.value).scale);
  return Math.max(MAX_DIGITS - countWholeDigits(range), 0, ...scales);
}

function countWholeDigits({ min, max }: NumberRange): number {
  const decimals = [min, max].map((bound) => toDecimal(bound?.value ?? 0));
  return Math.max(1, ...decimals.map(({ digits, scale }) => digits.length - scale));
}

function isBelowZero({ value }: Limit): boolean {
  return value < 0n;
}

function negate({ value, isExclusive }: Limit): Limit {
  return { value: -value, isExclusive };
}

/** A bound with more decimals than the scale is rounded into the range. */
function toLimit({ value, isExclusive }: Bound, scale: number, direction: 'up' | 'down'): Limit {
  const decimal = toDecimal(value);
  const sign = value < 0 ? -1n : 1n;
  const digits = sign * BigInt(decimal.digits);
  if (decimal.scale <= scale) return { value: digits * 10n ** BigInt(scale - decimal.scale), isExclusive };
  const divisor = 10n ** BigInt(decimal.scale - scale);
  const truncated = digits / divisor;
  if (truncated * divisor === digits) return { value: truncated, isExclusive };
  // BigInt division rounds towards zero.
  if (direction === 'up') return { value: value > 0 ? truncated + 1n : truncated, isExclusive: false };
  return { value: value < 0 ? truncated - 1n : truncated, isExclusive: false };
}

/** The shortest decimal that is this float64: digits · 10^-scale, without the sign. */
function toDecimal(value: number): { digits: string; scale: number } {
  const [mantissa, exponent] = Math.abs(value).toExponential().split('e') as [string, string];
  const [whole, fraction = ''] = mantissa.split('.') as [string, string?];
  const scale = fraction.length - Number(exponent);
  return { digits: whole + fraction + '0'.repeat(Math.max(0, -scale)), scale: Math.max(0, scale) };
}

/** Magnitudes low..high, both at least zero, with every number of digits before the point. */
function between(builder: ProgramBuilder, low: Limit, high: Limit, scale: number): Fragment {
  const wholeDigits = Math.max(1, `${high.value}`.length - scale);
  const fragments: Fragment[] = [];
  for (let digits = 1; digits <= wholeDigits; digits++) {
    const least = digits === 1 ? 0n : 10n ** BigInt(digits - 1 + scale);
    const most = 10n ** BigInt(digits + scale) - 1n;
    const from = low.value < least ? { value: least, isExclusive: false } : low;
    const to = high.value > most ? { value: most, isExclusive: false } : high;
    if (from.value <= to.value) fragments.push(new DigitRange(builder, from, to, digits, scale).spell());
  }
  return builder.either(...fragments);
}

class DigitRange {
  private readonly builder: ProgramBuilder;
  private readonly low: string;
  private readonly high: string;
  private readonly lowIsExclusive: boolean;
  private readonly highIsExclusive: boolean;
  private readonly wholeDigits: number;

  constructor(builder: ProgramBuilder, low: Limit, high: Limit, wholeDigits: number, scale: number) {
    this.builder = builder;
    this.low = `${low.value}`.padStart(wholeDigits + scale, '0');
    this.high = `${high.value}`.padStart(wholeDigits + scale, '0');
    this.lowIsExclusive = low.isExclusive;
    this.highIsExclusive = high.isExclusive;
    this.wholeDigits = wholeDigits;
  }

  spell(): Fragment {
    return (next) => this.spellFrom(0, true, true, next);
  }

  /** The digits from `at` on; `isLow`, `isHigh`: those before are the bound's. */
  private spellFrom(at: number, isLow: boolean, isHigh: boolean, next: Address): Address {
    const { builder, low, high, wholeDigits } = this;
    const isBoundBelow = isLow && (this.lowIsExclusive || /[^0]/.test(low.slice(at)));
    const isBoundAbove = isHigh && (this.highIsExclusive || /[^9]/.test(high.slice(at)));
    if (!isBoundBelow && !isBoundAbove) return this.spellFree(at)(next);
    const end = at >= wholeDigits && this.canEnd(at, isBoundBelow, isBoundAbove) ? next : builder.fail;
    if (at === low.length) return end;
    const [from, to] = [isBoundBelow ? Number(low[at]) : 0, isBoundAbove ? Number(high[at]) : 9];
    const digits = (first: number, last: number, isLowStill: boolean, isHighStill: boolean): Fragment => {
      if (first > last) return () => builder.fail;
      return (after) => builder.byte(0x30 + first, 0x30 + last)(this.spellFrom(at + 1, isLowStill, isHighStill, after));
    };
    const digit =
      from === to
        ? digits(from, to, isBoundBelow, isBoundAbove)
        : builder.either(
            digits(from, from, isBoundBelow, false),
            digits(from + 1, to - 1, false, false),
            digits(to, to, false, isBoundAbove),
          );
    const more = at === wholeDigits ? builder.sequence(builder.text('.'), digit) : digit;
    return builder.either(more, () => end)(next);
  }

  /** Any digits from `at` on. */
  private spellFree(at: number): Fragment {
    const { builder, low, wholeDigits } = this;
    const digit = builder.byte(0x30, 0x39);
    if (at > wholeDigits) return builder.repeat(digit, 0, low.length - at);
    const fraction = builder.sequence(builder.text('.'), builder.repeat(digit, 1, low.length - wholeDigits));
    return builder.sequence(builder.repeat(digit, wholeDigits - at, wholeDigits - at), builder.optional(fraction));
  }

  /** Whether the number may end here, its further digits being zeros. */
  private canEnd(at: number, isLow: boolean, isHigh: boolean): boolean {
    const isZero = (digits: string) => !/[1-9]/.test(digits.slice(at));
    if (isLow && (!isZero(this.low) || this.lowIsExclusive)) return false;
    return !(isHigh && this.highIsExclusive && isZero(this.high));
  }
}
