// Chat templates: Jinja templates that render messages to the text that a model continues, as in transformers. A
// checkpoint without one is a base model and gets the plain template. Templates of checkpoints are untrusted: the
// interpreter gives them access only to the variables that render passes.
import { Template } from '@huggingface/jinja';
import { z } from 'zod';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError, getErrorMessage } from '../error.ts';

export type RenderChat = (messages: ChatMessage[], options?: { addGenerationPrompt?: boolean }) => string;

/**
 * For base models, which have no roles: the contents joined by blank lines, with nothing after them, so that the model
 * continues the last message even in mid-sentence.
 */
export const PLAIN_TEMPLATE =
  "{% for message in messages %}{{ message['content'] }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}";

const templateSchema = z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish();

/** The template's source in tokenizer_config.json: a string, or of several named templates the one named `default`. */
export function selectTemplate(tokenizerConfig: Record<string, unknown>): string | null {
  const parsed = templateSchema.safeParse(tokenizerConfig.chat_template);
  if (!parsed.success) throw invalidTemplate('it is neither a string nor a list of named templates');
  const source = parsed.data ?? null;
  if (typeof source !== 'object' || source === null) return source;
  const selected = source.find(({ name }) => name === 'default');
  if (selected === undefined) {
    throw invalidTemplate(`none of ${source.map(({ name }) => name).join(', ')} is named default`);
  }
  return selected.template;
}

/** Parses a template once; `tokens` are the values of bos_token and eos_token. */
export function compileTemplate(source: string, tokens: { bos: string | null; eos: string | null }): RenderChat {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw invalidTemplate(getErrorMessage(error));
  }
  return (messages, { addGenerationPrompt = false } = {}) => {
    try {
      return template.render({
        messages,
        add_generation_prompt: addGenerationPrompt,
        bos_token: tokens.bos ?? '',
        eos_token: tokens.eos ?? '',
      });
    } catch (error) {
      // Most templates raise an exception for two user messages in a row, or a system message that is not the first.
      throw new AttuneError(
        `messages: the policy's chat template rejects them: ${getErrorMessage(error)}; change their roles or order`,
        { param: 'messages', code: 'chat_template_error' },
      );
    }
  };
}

function invalidTemplate(problem: string): AttuneError {
  return new AttuneError(`chat_template: ${problem}; fix or remove it in tokenizer_config.json`, {
    code: 'invalid_checkpoint',
  });
}
