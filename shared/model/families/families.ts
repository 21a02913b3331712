// The supported model families by model_type.
import type { FamilyName } from '../architecture.ts';
import type { Family } from './family.ts';
import { gptNeox } from './gpt-neox.ts';
import { gpt2 } from './gpt2.ts';
import { gemma, llama, mistral, qwen2, qwen3 } from './llama.ts';

const FAMILIES: Record<FamilyName, Family> = { llama, mistral, qwen2, qwen3, gpt2, gpt_neox: gptNeox, gemma };

export function getFamily({ family }: { family: FamilyName }): Family {
  return FAMILIES[family];
}
