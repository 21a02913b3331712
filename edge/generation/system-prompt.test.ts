import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { ChatMessage } from '../../shared/chat-message.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { tinyArchitecture, writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import { countSystemTokens } from './system-prompt.ts';

const root = await mkdtemp(path.join(tmpdir(), 'attune-system-'));
after(() => rm(root, { recursive: true, force: true }));

async function openPolicy(id: string, chatTemplate?: string): Promise<LoadedPolicy> {
  const folder = path.join(root, id);
  await writeTinyCheckpoint(folder, chatTemplate === undefined ? {} : { chatTemplate });
  const generate = () => assert.fail('this test generates nothing');
  return { id, architecture: tinyArchitecture(), tokenizer: await Tokenizer.open(folder), generate };
}

function count(policy: LoadedPolicy, messages: ChatMessage[]) {
  const promptIds = policy.tokenizer.encode(policy.tokenizer.renderChat(messages, { addGenerationPrompt: true }));
  return { shared: countSystemTokens(policy, messages, promptIds), promptIds };
}

const TAGGED =
  "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</{{ message['role'] }}>{% endfor %}" +
  '{% if add_generation_prompt %}<assistant>{% endif %}';
const system: ChatMessage = { role: 'system', content: 'Tell stories about the sea and its people.' };
const userMessage = (content: string): ChatMessage => ({ role: 'user', content });

test('two chats with the same system message share exactly its tokens', async () => {
  const policy = await openPolicy('tagged', TAGGED);
  const one = count(policy, [system, userMessage('Once upon a time')]);
  const two = count(policy, [system, userMessage('Hello')]);
  assert.equal(one.shared, two.shared);
  assert.deepEqual(one.promptIds.slice(0, one.shared), two.promptIds.slice(0, two.shared));
  const text = policy.tokenizer.decode(one.promptIds.slice(0, one.shared));
  assert.match(text, /its people\.<\/system>$/);
});

test('where tokens merge across the end of the system message, only the equal prefix is shared', async () => {
  const policy = await openPolicy('plain');
  const { shared, promptIds } = count(policy, [{ role: 'system', content: 'Once u' }, userMessage('pon a time')]);
  assert.ok(shared > 0 && shared < promptIds.length);
  const again = count(policy, [{ role: 'system', content: 'Once u' }, userMessage('nder')]);
  assert.deepEqual(promptIds.slice(0, shared), again.promptIds.slice(0, shared));
});

test('shares nothing without a system message, or if the template rejects a system message alone', async () => {
  const policy = await openPolicy('tagged-too', TAGGED);
  assert.equal(count(policy, [userMessage('Hello')]).shared, 0);
  const strict = await openPolicy(
    'strict',
    `{% if messages[-1]['role'] != 'user' %}{{ raise_exception('end with a user message') }}{% endif %}${TAGGED}`,
  );
  assert.equal(count(strict, [system, userMessage('Hello')]).shared, 0);
});

test('a prompt of only a system message leaves its last token to be computed', async () => {
  const policy = await openPolicy('alone');
  const { shared, promptIds } = count(policy, [system]);
  assert.equal(shared, promptIds.length - 1);
});
