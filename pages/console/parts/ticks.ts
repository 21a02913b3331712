// Where an axis has labels: round numbers, or times that a clock shows, as many as fit.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIMES = [
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 5 * DAY, 7 * DAY, 14 * DAY, 30 * DAY,
]; // biome-ignore format: a list of durations by their unit
const MAX_TICKS = 7;

/** Milliseconds. `offset`: of the local time to UTC, so that days begin at midnight. */
export function placeTimes(low: number, high: number, offset = -new Date(high).getTimezoneOffset() * MINUTE): number[] {
  const step = TIMES.find((time) => (high - low) / time < MAX_TICKS) ?? 30 * DAY;
  return placeSteps(low + offset, high + offset, step).map((at) => at - offset);
}

/** Whole numbers: of votes, or steps. */
export function placeCounts(low: number, high: number): number[] {
  let step = 1;
  for (let at = 0; (high - low) / step >= MAX_TICKS; at++) step *= at % 3 === 1 ? 2.5 : 2;
  return placeSteps(low, high, step);
}

function placeSteps(low: number, high: number, step: number): number[] {
  const ticks: number[] = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) ticks.push(at);
  return ticks;
}
