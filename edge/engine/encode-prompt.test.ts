import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { ChatMessage } from '../../shared/chat-message.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { encodePair, encodePrompt } from './encode-prompt.ts';

const root = await mkdtemp(path.join(tmpdir(), 'attune-encode-'));
after(() => rm(root, { recursive: true, force: true }));

async function openTokenizer(name: string, chatTemplate?: string): Promise<Tokenizer> {
  const folder = path.join(root, name);
  await writeTinyCheckpoint(folder, chatTemplate === undefined ? {} : { chatTemplate });
  return Tokenizer.open(folder);
}

const CONTEXT = 128;
const TAGGED =
  "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</{{ message['role'] }}>{% endfor %}" +
  '{% if add_generation_prompt %}<assistant>{% endif %}';
const system: ChatMessage = { role: 'system', content: 'Tell stories about the sea and its people.' };
const userMessage = (content: string): ChatMessage => ({ role: 'user', content });

test('two chats with the same system message share exactly its tokens', async () => {
  const tokenizer = await openTokenizer('tagged', TAGGED);
  const one = encodePrompt(tokenizer, [system, userMessage('Once upon a time')], CONTEXT);
  const two = encodePrompt(tokenizer, [system, userMessage('Hello')], CONTEXT);
  assert.deepEqual(one.sharedLengths, two.sharedLengths);
  assert.deepEqual(one.promptIds.slice(0, one.sharedLengths[0]), two.promptIds.slice(0, two.sharedLengths[0]));
  assert.match(tokenizer.decode(one.promptIds.slice(0, one.sharedLengths[0])), /its people\.<\/system>$/);
});

test('where tokens merge across the end of the system message, only the equal prefix is shared', async () => {
  const tokenizer = await openTokenizer('plain');
  const start: ChatMessage = { role: 'system', content: 'Once u' };
  const one = encodePrompt(tokenizer, [start, userMessage('pon a time')], CONTEXT);
  const [length] = one.sharedLengths;
  assert.ok(length! > 0 && length! < one.promptIds.length);
  const two = encodePrompt(tokenizer, [start, userMessage('nder')], CONTEXT);
  assert.deepEqual(one.promptIds.slice(0, one.sharedLengths[0]), two.promptIds.slice(0, one.sharedLengths[0]));
});

test('shares nothing without a system message, or if the template rejects a system message alone', async () => {
  const tokenizer = await openTokenizer('tagged-too', TAGGED);
  assert.deepEqual(encodePrompt(tokenizer, [userMessage('Hello')], CONTEXT).sharedLengths, []);
  const strict = await openTokenizer(
    'strict',
    `{% if messages[-1]['role'] != 'user' %}{{ raise_exception('end with a user message') }}{% endif %}${TAGGED}`,
  );
  assert.deepEqual(encodePrompt(strict, [system, userMessage('Hello')], CONTEXT).sharedLengths, []);
});

test('a prompt of only a system message leaves its last token to be computed', async () => {
  const { sharedLengths, promptIds } = encodePrompt(await openTokenizer('alone'), [system], CONTEXT);
  assert.deepEqual(sharedLengths, [promptIds.length - 1]);
});

test('a chat shares with its later turns exactly the prompts that they answered', async () => {
  const tokenizer = await openTokenizer('turns', TAGGED);
  const chat: ChatMessage[] = [system, userMessage('Once upon a time')];
  const prompts = [encodePrompt(tokenizer, chat, 512)];
  for (const [answer, question] of [
    ['there was a ship.', 'And then?'],
    ['It sank.', 'Why?'],
  ]) {
    chat.push({ role: 'assistant', content: answer! }, userMessage(question!));
    prompts.push(encodePrompt(tokenizer, chat, 512));
  }
  const [first, second, third] = prompts.map(({ promptIds }) => promptIds);
  assert.deepEqual(prompts[2]!.sharedLengths.slice(1), [first!.length, second!.length]);
  assert.deepEqual(third!.slice(0, second!.length), second);
});

test('an earlier turn that the template renders differently is not shared', async () => {
  const tokenizer = await openTokenizer('reordered', `{{ messages | length }}${TAGGED}`);
  const chat: ChatMessage[] = [userMessage('Once'), { role: 'assistant', content: 'upon' }, userMessage('a time')];
  assert.deepEqual(encodePrompt(tokenizer, chat, 512).sharedLengths, []);
});

test('a text whose first part fills the context is rejected without tokenizing the rest, naming the field', async () => {
  const tokenizer = await openTokenizer('long', TAGGED);
  const long = 'b'.repeat(CONTEXT * 16);
  for (const [prompt, param] of [
    [long, 'prompt'],
    [[userMessage(long)], 'messages'],
  ] as const)
    assert.throws(() => encodePrompt(tokenizer, prompt as string | ChatMessage[], CONTEXT), {
      code: 'context_length_exceeded',
      param,
      message: new RegExp(`^${param}: the prompt has more than 128 tokens, .* context of 128`),
    });
});

test('a pair has the tokens that the trainer reads: the rendered prompt, and a response with or without its end', async () => {
  const tokenizer = await openTokenizer('pair', TAGGED);
  const prompt = [system, userMessage('Once')];
  const rendered = tokenizer.renderChat(prompt, { addGenerationPrompt: true });
  for (const eos of [true, false]) {
    const { sharedLengths, ...pair } = encodePair(tokenizer, prompt, { text: ' upon a time', eos }, CONTEXT);
    assert.deepEqual(pair, tokenizer.encodePair(rendered, ' upon a time', { eos }));
    assert.deepEqual(sharedLengths, encodePrompt(tokenizer, prompt, CONTEXT).sharedLengths);
  }
  assert.throws(() => encodePair(tokenizer, 'Once', { text: 'b'.repeat(CONTEXT * 16), eos: true }, CONTEXT), {
    code: 'context_length_exceeded',
    message: /^responses: prompt and response have more than 128 tokens/,
  });
});
