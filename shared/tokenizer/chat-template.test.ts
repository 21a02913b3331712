import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatMessage } from '../chat-message.ts';
import { AttuneError } from '../error.ts';
import { compileTemplate, PLAIN_TEMPLATE, selectTemplate } from './chat-template.ts';

const tokens = { bos: '<s>', eos: '</s>' };
const user = (content: string): ChatMessage => ({ role: 'user', content });

test('the plain template joins the contents and does not end the last one', () => {
  const render = compileTemplate(PLAIN_TEMPLATE, tokens);
  assert.equal(render([user('Once upon a time')], { addGenerationPrompt: true }), 'Once upon a time');
  assert.equal(render([{ role: 'system', content: 'A story.' }, user('Once ')]), 'A story.\n\nOnce ');
  assert.equal(render([user('{{ bos_token }}<b>&')]), '{{ bos_token }}<b>&');
});

test('a ChatML template renders roles, end tokens and the generation prompt', () => {
  const render = compileTemplate(
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + eos_token + '\n' }}" +
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    { bos: null, eos: '<|im_end|>' },
  );
  assert.equal(
    render([user('Hi')], { addGenerationPrompt: true }),
    '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  );
  assert.equal(render([user('Hi')]), '<|im_start|>user\nHi<|im_end|>\n');
});

test('messages that the template rejects are a 400', () => {
  const render = compileTemplate("{{ raise_exception('roles must alternate') }}", tokens);
  assert.throws(
    () => render([user('Hi')]),
    (error) =>
      error instanceof AttuneError &&
      error.status === 400 &&
      error.param === 'messages' &&
      /rejects them: roles must alternate/.test(error.message),
  );
});

test('a template that does not parse is an error of the checkpoint', () => {
  assert.throws(() => compileTemplate('{% for %}', tokens), { name: 'AttuneError', message: /^chat_template: / });
});

test('selects the template named default among several', () => {
  assert.equal(selectTemplate({}), null);
  assert.equal(selectTemplate({ chat_template: 'a' }), 'a');
  const named = (name: string) => ({
    chat_template: [
      { name: 'tool_use', template: 't' },
      { name, template: 'd' },
    ],
  });
  assert.equal(selectTemplate(named('default')), 'd');
  assert.throws(() => selectTemplate(named('rag')), /none of tool_use, rag is named default/);
  assert.throws(() => selectTemplate({ chat_template: 3 }), /neither a string nor a list/);
});
