import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileJsonSchema } from './json-schema.ts';
import type { Grammar } from './program.ts';
import { TokenGrammar } from './token-grammar.ts';
import { TokenTrie } from './token-trie.ts';

const EOS = 0;
/** No line breaks, so that the language is finite; é whole and by byte; two spaces that are one token. */
const TOKENS = [
  ...[
    null,
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    ' ',
    'a',
    'b',
    't',
    'r',
    'u',
    'e',
    'f',
    'l',
    's',
    '\xc3',
    '\xa9',
    '\xc3\xa9',
  ],
  ...[
    '"a',
    '"a"',
    '":',
    '": ',
    '": t',
    'true',
    'tr',
    'ue}',
    'false',
    '\xa9"',
    '"}',
    ', "',
    ',"b":"',
    '{"',
    ' "',
    '  ',
    '',
    ' ',
  ],
  ...['0', '1', '2', '3', '12', '20', '"\xc3', 'b"}', 'x'],
];

/** `vocabSize` is larger than the tokenizer, as in models with padding rows. */
const open = (grammar: Grammar, tokens = TOKENS) =>
  new TokenGrammar(grammar, new TokenTrie(tokens), { eos: [EOS], vocabSize: TOKENS.length + 3 });

function listAllowed(grammar: TokenGrammar, state: TokenGrammar['start']): number[] {
  const { isAllowList, tokens } = grammar.getMask(state);
  const listed = new Set(tokens);
  return Array.from({ length: TOKENS.length + 3 }, (_, token) => token).filter(
    (token) => listed.has(token) === isAllowList,
  );
}

/** Compares the mask after every sequence of tokens with the beginnings of all documents. */
function assertExact(schema: unknown, documents: string[]): number {
  const grammar = open(compileJsonSchema(schema, 'schema'));
  const texts = documents.map((text) => Buffer.from(text).toString('latin1'));
  const beginnings = new Set(
    texts.flatMap((text) => Array.from({ length: text.length + 1 }, (_, end) => text.slice(0, end))),
  );
  const states = new Map([['', grammar.start]]);
  for (const [prefix, state] of states) {
    const expected = TOKENS.flatMap((text, token) => (text && beginnings.has(prefix + text) ? [token] : []));
    if (texts.includes(prefix)) expected.unshift(EOS);
    assert.deepEqual(listAllowed(grammar, state), expected, JSON.stringify(prefix));
    for (const token of expected) if (token !== EOS) states.set(prefix + TOKENS[token], grammar.advance(state, token));
  }
  return states.size;
}

const combine = (...parts: string[][]) =>
  parts.reduce((texts, part) => texts.flatMap((text) => part.map((next) => text + next)), ['']);
const SPACE = ['', ' '];

test('the mask allows exactly the tokens with which the text is the beginning of a document', () => {
  const schema = {
    type: 'object',
    properties: { a: { type: 'boolean' }, b: { enum: ['é', 'b', 'ab'] } },
    required: ['a'],
  };
  const a = combine(['{'], SPACE, ['"a":'], SPACE, ['true', 'false']);
  const b = combine(a, [','], SPACE, ['"b":'], SPACE, ['"é"', '"b"', '"ab"']);
  assert.ok(assertExact(schema, combine([...a, ...b], SPACE, ['}'])) > 500);
});

test('the mask is exact with counts, digits and alternatives', () => {
  const numbers = ['0', '1', '2', '3', '10', '11', '12', '13', '20', '21', '22', '23'];
  assertExact({ type: 'integer', minimum: 0, maximum: 29 }, numbers);
  const item = ['true', '1'];
  const lists = [1, 2, 3].flatMap((count) =>
    combine(['['], SPACE, item, ...Array.from({ length: count - 1 }, () => combine([','], SPACE, item)), SPACE, [']']),
  );
  assertExact({ type: 'array', minItems: 1, maxItems: 3, items: { anyOf: [{ const: true }, { enum: [1] }] } }, lists);
  const letters = ['a', 'b', 't', 'r', 'u', 'e', 'f', 'l', 's', 'x'];
  const words = [1, 2].flatMap((count) => combine(['"'], ...Array.from({ length: count }, () => letters), ['"']));
  assertExact({ type: 'string', pattern: '^[a-z]{1,2}$' }, words);
});

test('equal bytes are equally allowed, and special tokens, padding and empty ones never', () => {
  const grammar = open(compileJsonSchema({ type: 'string' }, 'schema'));
  const inside = listAllowed(grammar, grammar.advance(grammar.start, TOKENS.indexOf('"')));
  const spaces = [...TOKENS.keys()].filter((token) => TOKENS[token] === ' ');
  assert.equal(spaces.length, 2);
  for (const space of spaces) assert.ok(inside.includes(space));
  for (const never of [EOS, TOKENS.indexOf(''), TOKENS.length, TOKENS.length + 2]) assert.ok(!inside.includes(never));
});

test('the end is allowed where the text is complete, and nothing else if it cannot go on', () => {
  const grammar = open(compileJsonSchema({ type: 'integer', minimum: 0, maximum: 12 }, 'schema'));
  const [one, twelve] = ['1', '12'].map((text) => grammar.advance(grammar.start, TOKENS.indexOf(text)));
  assert.deepEqual(listAllowed(grammar, one!), [EOS, ...['0', '1', '2'].map((digit) => TOKENS.indexOf(digit))]);
  assert.deepEqual(listAllowed(grammar, twelve!), [EOS]);
});

test('long strings share the mask of their states, whatever their counts', () => {
  const grammar = open(compileJsonSchema({ type: 'string', minLength: 500, maxLength: 1000 }, 'schema'));
  let state = grammar.advance(grammar.start, TOKENS.indexOf('"'));
  const masks = new Set();
  for (let count = 0; count < 1000; count++) {
    masks.add(grammar.getMask(state));
    state = grammar.advance(state, TOKENS.indexOf('x'));
  }
  assert.ok(masks.size < 30, `${masks.size} masks`);
  assert.deepEqual(listAllowed(grammar, state), [TOKENS.indexOf('"')]);
});

test('what no token spells is left out, and a grammar that needs it is refused', () => {
  const tokens = TOKENS.map((text) => (text === '\xa9' || text === '\xa9"' ? 'x' : text));
  const schema = { enum: ['é', 'b'] };
  const grammar = open(compileJsonSchema(schema, 'schema'), tokens);
  const inside = grammar.advance(grammar.start, TOKENS.indexOf('"'));
  assert.ok(!listAllowed(grammar, inside).includes(TOKENS.indexOf('\xc3')));
  assert.throws(() => open(compileJsonSchema({ enum: ['ö'] }, 'schema')), {
    code: 'unsupported_schema',
    param: 'response_format',
  });
});

test('a schema with too many alternatives at once is refused when they are met, in bounded time', () => {
  const lists = Array.from({ length: 40 }, (_, at) => ({ type: 'array', items: { $ref: '#' }, maxItems: at + 1 }));
  const grammar = open(compileJsonSchema({ anyOf: lists }, 'schema'));
  let state = grammar.start;
  assert.throws(
    () => {
      for (let count = 0; count < 100; count++) {
        grammar.getMask(state);
        state = grammar.advance(state, TOKENS.indexOf('['));
      }
    },
    { name: 'AttuneError', code: 'unsupported_schema', message: /too ambiguous/ },
  );
});
