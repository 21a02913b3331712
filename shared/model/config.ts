// Converts between Hugging Face's config.json and an Architecture. The family named by model_type does the conversion;
// unsupported configurations are rejected with the offending field.
import { z } from 'zod';
import { type Architecture, FAMILY_NAMES, type FamilyName } from './architecture.ts';
import { getFamily } from './families/families.ts';
import { parseFields, unsupported } from './families/family.ts';

const token = z.int().nonnegative();
const tokens = z.union([token, z.array(token)]).nullish();
const specialTokens = z.looseObject({ bos_token_id: tokens, eos_token_id: tokens });

/**
 * Validates config.json and returns its Architecture. Special tokens in generation_config.json take precedence. `output`:
 * what the caller needs; the config of a model with another output is rejected.
 */
export function parseConfig(
  config: unknown,
  generationConfig?: unknown,
  output: Architecture['output'] = 'logits',
): Architecture {
  if (typeof config !== 'object' || config === null)
    throw unsupported('not a JSON object', 'export the checkpoint again');
  const familyConfig = getFamily({ family: parseFamily(config, output) }).parseConfig(config);
  const c = parseFields(specialTokens, config);
  const g = parseFields(specialTokens, generationConfig ?? {}, 'generation_config.json');
  const bos = g.bos_token_id ?? c.bos_token_id ?? null;
  const architecture: Architecture = {
    ...familyConfig,
    output,
    bos: Array.isArray(bos) ? (bos[0] ?? null) : bos,
    eos: [g.eos_token_id ?? c.eos_token_id ?? []].flat(),
  };
  const { vocabSize } = architecture;
  for (const id of [...architecture.eos, architecture.bos ?? 0]) {
    if (id >= vocabSize)
      throw unsupported(`special token ${id} is outside vocab_size ${vocabSize}`, 'correct one of them');
  }
  return architecture;
}

function parseFamily(
  config: { model_type?: unknown; architectures?: unknown },
  output: Architecture['output'],
): FamilyName {
  const { architectures, model_type: type } = config;
  const family = FAMILY_NAMES.find((name) => name === type);
  if (!family) {
    const problem = `model_type is ${JSON.stringify(type) ?? 'missing'}`;
    throw unsupported(problem, `Attune supports only ${FAMILY_NAMES.join(', ')}`);
  }
  const classes = Array.isArray(architectures) ? architectures : [];
  const className = getFamily({ family }).classNames[output];
  if (classes.length > 0 && !(classes.length === 1 && classes[0] === className)) {
    throw unsupported(
      `architectures is ${JSON.stringify(classes)}`,
      `for model_type ${family} Attune supports only ${className}`,
    );
  }
  return family;
}

/** The fields in which a reward's config.json differs from its policy's: one label makes transformers' head a regression. */
export function toRewardFields(a: Architecture): Record<string, unknown> {
  const architectures = [getFamily(a).classNames.reward];
  return { architectures, id2label: { 0: 'reward' }, label2id: { reward: 0 } };
}

/** Returns the config.json of an architecture; parseConfig reads it back unchanged. */
export function toConfig(a: Architecture): Record<string, unknown> {
  const family = getFamily(a);
  return {
    architectures: [family.classNames[a.output]],
    model_type: a.family,
    ...family.toConfig(a),
    vocab_size: a.vocabSize,
    tie_word_embeddings: a.tied,
    bos_token_id: a.bos,
    eos_token_id: a.eos.length === 1 ? a.eos[0] : a.eos,
    torch_dtype: 'float32',
    use_cache: true,
    ...(a.output === 'reward' ? toRewardFields(a) : {}),
  };
}

export function toGenerationConfig(a: Architecture): Record<string, unknown> {
  return { bos_token_id: a.bos, eos_token_id: a.eos };
}
