import { formatNumber } from '../format.ts';

/** Of requests or tokens in a time: "168", "39", "5.3", "< 0.1" */
export function formatRate(rate: number): string {
  return rate > 0 && rate < 0.1 ? '< 0.1' : formatNumber(rate, 2);
}
