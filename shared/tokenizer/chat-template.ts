// Chat templates: how a conversation becomes the one text that a model continues. A checkpoint brings its own, written
// in Jinja; one that brings none is a base model and gets the plain template below. Templates come with untrusted
// checkpoints: the interpreter gives them no access to anything but what render passes in.
import { Template } from '@huggingface/jinja';
import { z } from 'zod';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError } from '../error.ts';

export type RenderChat = (messages: ChatMessage[], options?: { addGenerationPrompt?: boolean }) => string;

/**
 * For models that never learned roles: the contents joined by a blank line and nothing after them, so that the model
 * continues the last message in mid-sentence if that is where it stops.
 */
export const PLAIN_TEMPLATE =
  "{% for message in messages %}{{ message['content'] }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}";

const templateSchema = z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish();

/** The template's source from tokenizer_config.json: a string, or the one called `default` of several. */
export function selectTemplate(tokenizerConfig: Record<string, unknown>): string | null {
  const parsed = templateSchema.safeParse(tokenizerConfig.chat_template);
  if (!parsed.success) throw invalidTemplate('it is neither a text nor a list of named templates');
  const found = parsed.data ?? null;
  if (typeof found !== 'object' || found === null) return found;
  const chosen = found.find(({ name }) => name === 'default');
  if (chosen === undefined)
    throw invalidTemplate(`none of ${found.map(({ name }) => name).join(', ')} is called default`);
  return chosen.template;
}

/** Parses a template once; `tokens` are the texts that it may insert as bos_token and eos_token. */
export function compileTemplate(source: string, tokens: { bos: string | null; eos: string | null }): RenderChat {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw invalidTemplate(messageOf(error));
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
      // Most templates refuse conversations themselves: two user messages in a row, a system message in the middle.
      throw new AttuneError(
        `messages: the policy's chat template refuses them: ${messageOf(error)}; change their roles or order`,
        { param: 'messages', code: 'chat_template_error' },
      );
    }
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function invalidTemplate(problem: string): AttuneError {
  return new AttuneError(`chat_template: ${problem}; mend or remove it in tokenizer_config.json`, {
    code: 'invalid_checkpoint',
  });
}
