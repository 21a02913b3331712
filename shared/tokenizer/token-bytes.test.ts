import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyPieces } from '../../testing/tiny-checkpoint.ts';
import { buildTokenizerJson } from './bpe.ts';
import { readTokenDecoding, toTokenBytes } from './token-bytes.ts';
import { Tokenizer } from './tokenizer.ts';

const toBytes = (text: string) => Buffer.from(text).toString('latin1');

test('bytes of byte-level tokens, and of added ones, which are texts', () => {
  const decoding = readTokenDecoding({ type: 'ByteLevel' });
  assert.equal(toTokenBytes('Ġhello', false, decoding), ' hello');
  assert.equal(toTokenBytes('Ã©Ċ', false, decoding), '\xc3\xa9\n');
  assert.equal(toTokenBytes('Ã', false, decoding), '\xc3');
  assert.equal(toTokenBytes('Ġé', true, decoding), toBytes('Ġé'));
});

test('bytes of SentencePiece tokens', () => {
  for (const decoder of [
    {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
      ],
    },
    {
      type: 'Sequence',
      decoders: [{ type: 'ByteFallback' }, { type: 'Metaspace', replacement: '▁' }, { type: 'Strip' }],
    },
  ]) {
    const decoding = readTokenDecoding(decoder);
    assert.equal(toTokenBytes('▁▁a', false, decoding), '  a');
    assert.equal(toTokenBytes('<0xE9>', false, decoding), '\xe9');
    assert.equal(toTokenBytes('漢', false, decoding), toBytes('漢'));
  }
});

test('a decoder whose tokens have no bytes of their own is refused by name', () => {
  assert.throws(() => readTokenDecoding({ type: 'WordPiece' }), {
    code: 'unsupported_tokenizer',
    message: /WordPiece/,
  });
});

test('the bytes of a tokenizer’s tokens are those of its decoded texts', async () => {
  const tokenizer = await Tokenizer.from({ tokenizer: JSON.stringify(buildTokenizerJson(tinyPieces())) });
  const bytes = tokenizer.listTokenBytes();
  assert.equal(bytes.length, tokenizer.size);
  assert.deepEqual(bytes.slice(0, 3), [null, null, null]);
  assert.equal(bytes[3 + 0x7b], '{');
  const ids = tokenizer.encode('Once upon a time, {"é": [漢字]}\n', { special: false });
  assert.equal(ids.map((id) => bytes[id]).join(''), toBytes(` Once upon a time, {"é": [漢字]}\n`));
});
