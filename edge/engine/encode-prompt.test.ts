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
  assert.equal(one.sharedLength, two.sharedLength);
  assert.deepEqual(one.promptIds.slice(0, one.sharedLength), two.promptIds.slice(0, two.sharedLength));
  assert.match(tokenizer.decode(one.promptIds.slice(0, one.sharedLength)), /its people\.<\/system>$/);
});

test('where tokens merge across the end of the system message, only the equal prefix is shared', async () => {
  const tokenizer = await openTokenizer('plain');
  const start: ChatMessage = { role: 'system', content: 'Once u' };
  const one = encodePrompt(tokenizer, [start, userMessage('pon a time')], CONTEXT);
  assert.ok(one.sharedLength > 0 && one.sharedLength < one.promptIds.length);
  const two = encodePrompt(tokenizer, [start, userMessage('nder')], CONTEXT);
  assert.deepEqual(one.promptIds.slice(0, one.sharedLength), two.promptIds.slice(0, one.sharedLength));
});

test('shares nothing without a system message, or if the template rejects a system message alone', async () => {
  const tokenizer = await openTokenizer('tagged-too', TAGGED);
  assert.equal(encodePrompt(tokenizer, [userMessage('Hello')], CONTEXT).sharedLength, 0);
  const strict = await openTokenizer(
    'strict',
    `{% if messages[-1]['role'] != 'user' %}{{ raise_exception('end with a user message') }}{% endif %}${TAGGED}`,
  );
  assert.equal(encodePrompt(strict, [system, userMessage('Hello')], CONTEXT).sharedLength, 0);
});

test('a prompt of only a system message leaves its last token to be computed', async () => {
  const { sharedLength, promptIds } = encodePrompt(await openTokenizer('alone'), [system], CONTEXT);
  assert.equal(sharedLength, promptIds.length - 1);
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
    const { sharedLength, ...pair } = encodePair(tokenizer, prompt, { text: ' upon a time', eos }, CONTEXT);
    assert.deepEqual(pair, tokenizer.encodePair(rendered, ' upon a time', { eos }));
    assert.equal(sharedLength, encodePrompt(tokenizer, prompt, CONTEXT).sharedLength);
  }
  assert.throws(() => encodePair(tokenizer, 'Once', { text: 'b'.repeat(CONTEXT * 16), eos: true }, CONTEXT), {
    code: 'context_length_exceeded',
    message: /^responses: prompt and response have more than 128 tokens/,
  });
});
