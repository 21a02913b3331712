// Rotary embedding fields of config.json: `rope_theta` and `rope_scaling`, or `rope_parameters` since transformers 5.
// Unsupported scalings are rejected by name.
import { z } from 'zod';
import type { Architecture, RopeScaling } from '../architecture.ts';
import { unsupported } from './family.ts';

const positive = z.number().positive();
const parameters = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: positive.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
});

export const ropeFields = {
  rope_theta: positive.nullish(),
  rope_scaling: parameters.nullish(),
  rope_parameters: parameters.nullish(),
};

type RopeFields = z.infer<z.ZodObject<typeof ropeFields>>;
type Rope = Pick<Architecture, 'ropeTheta' | 'ropeScaling' | 'rotaryShare'>;

const linear = z.looseObject({ factor: positive });
const llama3 = z.looseObject({
  factor: positive,
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: z.int().positive(),
});

/** `defaultShare`: share of each head that rotates if the config has no partial_rotary_factor. */
export function parseRope(config: RopeFields, headDim: number, defaultShare = 1): Rope {
  const { rope_parameters: newer, rope_scaling: older } = config;
  // `rope_scaling` without a type still scales, in a way that cannot be determined.
  if (older && !older.rope_type && !older.type) throw unsupportedScaling(older);
  const rope: Rope = {
    ropeTheta: newer?.rope_theta ?? config.rope_theta ?? 10000,
    ropeScaling: parseScaling(newer) ?? parseScaling(older),
    rotaryShare: newer?.partial_rotary_factor ?? defaultShare,
  };
  const dims = Math.trunc(headDim * rope.rotaryShare);
  if (dims % 2 !== 0 || dims === 0) {
    throw unsupported(
      `the head size is ${headDim}, of which ${dims} dimensions rotate`,
      'an even number must rotate; set head_dim',
    );
  }
  return rope;
}

function parseScaling(given: z.infer<typeof parameters> | null | undefined): RopeScaling | null {
  const type = given?.rope_type ?? given?.type ?? 'default';
  if (type === 'default') return null;
  if (type === 'linear') {
    const parsed = linear.safeParse(given);
    if (parsed.success) return { type, factor: parsed.data.factor };
  }
  if (type === 'llama3') {
    const parsed = llama3.safeParse(given);
    if (parsed.success && parsed.data.high_freq_factor > parsed.data.low_freq_factor) {
      return {
        type,
        factor: parsed.data.factor,
        lowFrequencyFactor: parsed.data.low_freq_factor,
        highFrequencyFactor: parsed.data.high_freq_factor,
        originalContext: parsed.data.original_max_position_embeddings,
      };
    }
  }
  throw unsupportedScaling(given);
}

function unsupportedScaling(given: unknown): Error {
  return unsupported(
    `rope_scaling is ${JSON.stringify(given)}`,
    'Attune supports rope_type default, linear (with factor) and llama3 (with factor, low_freq_factor, ' +
      'high_freq_factor, original_max_position_embeddings)',
  );
}

/** config.json fields in the older form, which every reader supports. */
export function toRopeFields({ ropeTheta, ropeScaling }: Architecture): Record<string, unknown> {
  return { rope_theta: ropeTheta, rope_scaling: ropeScaling && toScalingFields(ropeScaling) };
}

function toScalingFields(scaling: RopeScaling): Record<string, unknown> {
  if (scaling.type === 'linear') return { rope_type: 'linear', type: 'linear', factor: scaling.factor };
  return {
    rope_type: 'llama3',
    factor: scaling.factor,
    low_freq_factor: scaling.lowFrequencyFactor,
    high_freq_factor: scaling.highFrequencyFactor,
    original_max_position_embeddings: scaling.originalContext,
  };
}
