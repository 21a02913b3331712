// The files of a checkpoint in Hugging Face layout, without its weights.

/** The files that determine a tokenizer. */
export const TOKENIZER_FILES = {
  tokenizer: 'tokenizer.json',
  tokenizerConfig: 'tokenizer_config.json',
  config: 'config.json',
  generationConfig: 'generation_config.json',
  chatTemplate: 'chat_template.jinja',
} as const;

/** The files that a policy package copies from its checkpoint. */
export const CHECKPOINT_FILES: readonly string[] = [...Object.values(TOKENIZER_FILES), 'special_tokens_map.json'];
