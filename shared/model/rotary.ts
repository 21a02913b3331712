// The angles of rotary positions (Su et al. 2021), with the scalings that checkpoints ask for. Every graph and the
// trainer take their tables from here.
import { type Architecture, type RopeScaling, rotaryDims } from './architecture.ts';

/** Cosines and sines [length, rotary dimensions / 2] of every position's angles. */
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

/** By how much each pair of dimensions turns from one position to the next, in radians. */
function rotaryFrequencies(a: Architecture): number[] {
  const half = rotaryDims(a) / 2;
  return Array.from({ length: half }, (_, i) => scale(a.ropeTheta ** (-i / half), a.ropeScaling));
}

function scale(frequency: number, scaling: RopeScaling | null): number {
  if (scaling === null) return frequency;
  if (scaling.type === 'linear') return frequency / scaling.factor;
  // Llama 3: how often a pair turns over the original context decides. Quick ones stay, slow ones are divided by the
  // factor, and those between are mixed.
  const turns = (scaling.originalContext * frequency) / (2 * Math.PI);
  const { lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
  return kept * frequency + ((1 - kept) * frequency) / scaling.factor;
}
