// The precisions by name.
import type { PrecisionName } from '../../precision-name.ts';
import { blocked } from './blocked.ts';
import { float32 } from './float32.ts';
import type { Precision } from './precision.ts';
import { row8 } from './row8.ts';

export const PRECISIONS: Record<PrecisionName, Precision> = {
  fp32: float32,
  row8,
  int8: blocked(8),
  int4: blocked(4),
};
