import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { makeTempFolder } from '../../testing/policy-package.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { StopStringDetokenizer } from './stop-strings.ts';

const folder = await makeTempFolder();
after(folder.remove);
await writeTinyCheckpoint(folder.path);
const tokenizer = await Tokenizer.open(folder.path);
const prompt = tokenizer.encode('Once');

/** One token per byte, so that every stop string spans tokens. */
const toByteTokens = (text: string) => Array.from(new TextEncoder().encode(text), (byte) => 3 + byte);

function detokenize(text: string, stop: string[]) {
  const detokenizer = new StopStringDetokenizer(tokenizer, prompt, stop);
  const pieces: string[] = [];
  for (const id of toByteTokens(text)) {
    if (!detokenizer.isStopped) pieces.push(detokenizer.push(id));
  }
  const rest = detokenizer.finish();
  return { pieces, rest, text: detokenizer.text, isStopped: detokenizer.isStopped };
}

test('without stop strings no text is held back', () => {
  assert.deepEqual(detokenize('day', []), { pieces: ['d', 'a', 'y'], rest: '', text: 'day', isStopped: false });
});

test('a stop string across tokens ends the text and is cut from it', () => {
  const { pieces, text, isStopped } = detokenize('one END two', ['END']);
  assert.deepEqual(pieces, ['o', 'n', 'e', ' ', '', '', '']);
  assert.equal(text, 'one ');
  assert.ok(isStopped);
});

test('text that only starts like a stop string is released once that is certain', () => {
  assert.deepEqual(detokenize('aENx', ['END']).pieces, ['a', '', '', 'ENx']);
  const { pieces, rest, text } = detokenize('aEN', ['END']);
  assert.deepEqual([pieces.join(''), rest, text], ['a', 'EN', 'aEN']);
});

test('the stop string that starts first cuts the text', () => {
  assert.equal(detokenize('ababac!', ['bac', 'abac']).text, 'ab');
  assert.equal(detokenize('aab', ['ab', '']).text, 'a');
});

test('a character in several tokens is released whole', () => {
  assert.deepEqual(detokenize('é!', []).pieces, ['', 'é', '!']);
  assert.deepEqual(detokenize('x😀', ['😀']).text, 'x');
});
