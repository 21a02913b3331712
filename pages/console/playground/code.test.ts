import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { writeCode } from './code.ts';

const BODY = {
  model: 'attune',
  messages: [{ role: 'user', content: `It's "a" $HOME \`x\`\nline, ${'long '.repeat(30)}, "b": 1` }],
  logprobs: true,
  stop: null,
  response_format: { type: 'json_schema', json_schema: { schema: { type: 'object', required: [], nullable: false } } },
};

test('the command sends what was sent, whatever quotes and variables its texts have', () => {
  const command = writeCode('curl', 'http://127.0.0.1:8787', BODY, true);
  // As a shell reads it, with a curl that prints its last argument.
  const { stdout } = spawnSync('bash', ['-c', `curl() { printf %s "\${@: -1}"; }\n${command}`], { encoding: 'utf8' });
  assert.deepEqual(JSON.parse(stdout), { ...BODY, stream: true });
  assert.match(command, /Bearer \$ATTUNE_API_KEY"/);
  assert.doesNotMatch(writeCode('curl', 'http://127.0.0.1:8787', BODY, false), /authorization/);
});

test('the JavaScript program creates what was sent', async () => {
  const program = writeCode('javascript', 'http://127.0.0.1:8787', BODY, true);
  const [, argument] = /create\(([\s\S]*)\);\nfor await/.exec(program)!;
  assert.deepEqual(new Function(`return ${argument}`)(), { ...BODY, stream: true });
});

test('the Python program has Python’s words for true, false and null', () => {
  const program = writeCode('python', 'http://127.0.0.1:8787', BODY, true);
  assert.match(program, /logprobs=True,\n {4}stop=None,/);
  assert.match(program, /"nullable": False/);
  assert.match(program, /stream=True,\n\)/);
  assert.match(program, /"content": "It's \\"a\\" \$HOME `x`\\nline/);
});
