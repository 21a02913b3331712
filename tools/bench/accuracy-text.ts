// The text on which accuracy is measured: prompts for text that the float32 policy samples itself, and prose that people
// wrote, from the READMEs of installed packages (their versions are pinned, so the text stays the same).
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { makePrompts } from '../demo/prompts.ts';

/** `own`: sampled by the float32 policy at temperature 1; `real`: written by people. */
export type TextName = 'own' | 'real';

/** Each token of the response is predicted after the prompt and the tokens before it. */
export type Sequence = { text: TextName; promptIds: number[]; responseIds: number[] };

export const RESPONSE_TOKENS = 64;
const PASSAGE_PROMPT_TOKENS = 64;

const QUESTIONS = [
  'Tell me about the sea.',
  'How do I bake bread without an oven?',
  'Write a short poem about winter.',
  'What is the difference between a virus and a bacterium?',
  'Explain to a child why the sky is blue.',
  'Give me three reasons to learn a second language.',
  'Write a polite email that asks for a day off.',
  'Who was Marie Curie?',
  'Write a function in Python that reverses a list.',
  'My plant has yellow leaves. What should I do?',
];
const PACKAGES = [
  '@cloudflare/containers',
  '@opentelemetry/api',
  '@rgrove/parse-xml',
  'commander',
  'cron-parser',
  'lru-cache',
  'postgres',
  'prom-client',
];
const NODE_MODULES = path.join(import.meta.dirname, '../../node_modules');

/** Questions in the chat template if the model has one, else the demo's openings of stories. */
export async function encodePrompts(folder: string): Promise<number[][]> {
  const tokenizer = await Tokenizer.open(folder);
  if (!(await hasChatTemplate(folder))) {
    return makePrompts(1)
      .evaluation.slice(0, QUESTIONS.length)
      .map((opening) => tokenizer.encode(opening));
  }
  return QUESTIONS.map((content) => {
    const text = tokenizer.renderChat([{ role: 'user', content }], { addGenerationPrompt: true });
    return tokenizer.encode(text);
  });
}

async function hasChatTemplate(folder: string): Promise<boolean> {
  if (existsSync(path.join(folder, 'chat_template.jinja'))) return true;
  const config = JSON.parse(await readFile(path.join(folder, 'tokenizer_config.json'), 'utf8'));
  return config.chat_template !== undefined;
}

/** A passage of each package: its first half is the prompt. Shorter if the model's context is. */
export async function encodePassages(folder: string, contextLength: number): Promise<Sequence[]> {
  const tokenizer = await Tokenizer.open(folder);
  const promptLength = Math.min(PASSAGE_PROMPT_TOKENS, contextLength >> 1);
  const end = Math.min(promptLength + RESPONSE_TOKENS, contextLength);
  return Promise.all(
    PACKAGES.map(async (name) => {
      const ids = tokenizer.encode(await readProse(name));
      return {
        text: 'real' as const,
        promptIds: ids.slice(0, promptLength),
        responseIds: ids.slice(promptLength, end),
      };
    }),
  );
}

/** The README's paragraphs that begin with a sentence and not with a heading, a list, a table or code. */
async function readProse(name: string): Promise<string> {
  const folder = path.join(NODE_MODULES, name);
  const file = (await readdir(folder)).find((file) => /^readme\.md$/i.test(file))!;
  const paragraphs = (await readFile(path.join(folder, file), 'utf8')).split(/\r?\n(?:\r?\n)+/);
  return paragraphs.filter((paragraph) => /^[A-Z][^|`<[]{120}/.test(paragraph)).join('\n\n');
}
