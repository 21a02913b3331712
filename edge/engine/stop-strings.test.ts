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

/** Byte by byte, so that every stop string spans tokens. */
const spell = (text: string) => Array.from(new TextEncoder().encode(text), (byte) => 3 + byte);

function read(text: string, stop: string[]) {
  const visible = new StopStringDetokenizer(tokenizer, prompt, stop);
  const pieces: string[] = [];
  for (const id of spell(text)) {
    if (!visible.isStopped) pieces.push(visible.push(id));
  }
  const rest = visible.finish();
  return { pieces, rest, text: visible.text, isStopped: visible.isStopped };
}

test('without stop strings text comes as it is', () => {
  assert.deepEqual(read('day', []), { pieces: ['d', 'a', 'y'], rest: '', text: 'day', isStopped: false });
});

test('a stop string across tokens never shows, and ends the text', () => {
  const { pieces, text, isStopped } = read('one END two', ['END']);
  assert.deepEqual(pieces, ['o', 'n', 'e', ' ', '', '', '']);
  assert.equal(text, 'one ');
  assert.ok(isStopped);
});

test('text that only looked like a stop string comes once that is clear', () => {
  assert.deepEqual(read('aENx', ['END']).pieces, ['a', '', '', 'ENx']);
  const { pieces, rest, text } = read('aEN', ['END']);
  assert.deepEqual([pieces.join(''), rest, text], ['a', 'EN', 'aEN']);
});

test('of two stop strings the one that begins first cuts', () => {
  assert.equal(read('ababac!', ['bac', 'abac']).text, 'ab');
  assert.equal(read('aab', ['ab', '']).text, 'a');
});

test('a character in several tokens comes whole', () => {
  assert.deepEqual(read('é!', []).pieces, ['', 'é', '!']);
  assert.deepEqual(read('x😀', ['😀']).text, 'x');
});
