// Rotary position embedding tables (Su et al. 2021), with linear and Llama 3 frequency scaling. The ONNX graphs and the
// trainer both use these tables.
import { type Architecture, type RopeScaling, rotaryDims } from './architecture.ts';

/** Cosines and sines of every position's angles, each [length, rotaryDims / 2]. */
export function rotaryTables(a: Architecture, length: number): { cos: Float32Array; sin: Float32Array } {
  const frequencies = rotaryFrequencies(a);
  const half = frequencies.length;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let position = 0; position < length; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i]!;
      cos[position * half + i] = Math.cos(angle);
      sin[position * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** Radians per position for each pair of dimensions, [rotaryDims / 2]. */
export function rotaryFrequencies(a: Architecture): number[] {
  const half = rotaryDims(a) / 2;
  return Array.from({ length: half }, (_, i) => scaleFrequency(a.ropeTheta ** (-i / half), a.ropeScaling));
}

function scaleFrequency(frequency: number, scaling: RopeScaling | null): number {
  if (scaling === null) return frequency;
  if (scaling.type === 'linear') return frequency / scaling.factor;
  // Llama 3: pairs that rotate often within the original context keep their frequency, slow ones are divided by the
  // factor, and those between are interpolated.
  const turns = (scaling.originalContext * frequency) / (2 * Math.PI);
  const { lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
  return kept * frequency + ((1 - kept) * frequency) / scaling.factor;
}
