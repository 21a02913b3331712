// Numbers and times as the console writes them.

const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' });
const TIME = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const COUNT = new Intl.NumberFormat('en');
const BYTES = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

const UNITS = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
] as const;

/** `at`: Unix seconds. */
export function formatAgo(at: number, now = Date.now() / 1000): string {
  const seconds = at - now;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? (['second', 1] as const);
  return RELATIVE.format(Math.round(seconds / size), unit);
}

export function formatTime(at: number): string {
  return TIME.format(at * 1000);
}

export function formatCount(count: number): string {
  return COUNT.format(count);
}

export function formatPercent(share: number, digits = 0): string {
  return `${(100 * share).toFixed(digits)}%`;
}

/** A number of any size, with the digits that tell: "0.0123", "−41.3", "1,234" */
export function formatNumber(value: number, digits = 3): string {
  const size = Math.abs(value);
  const sign = value < 0 ? '−' : '';
  if (size >= 10 ** digits) return sign + COUNT.format(Math.round(size));
  if (size !== 0 && size < 1e-4) return sign + size.toExponential(1);
  return sign + Number(size.toPrecision(digits));
}

/** With so many digits, as numbers below each other have. */
export function formatFixed(value: number, digits: number): string {
  return value.toFixed(digits).replace('-', '−');
}

/** "1 h 5 min", "3 min 20 s", "2.4 s", "340 ms" */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10) return `${seconds.toPrecision(2)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function formatBytes(bytes: number): string {
  const exponent = bytes > 0 ? Math.min(3, Math.floor(Math.log2(bytes) / 10)) : 0;
  return `${BYTES.format(bytes / 1024 ** exponent)} ${['B', 'KiB', 'MiB', 'GiB'][exponent]}`;
}
