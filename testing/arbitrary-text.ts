// fast-check's arbitraries of every text that the API accepts: all of Unicode but NUL and unpaired surrogates, and what
// parsers like to change (JSON, numbers, escapes, quotes, white space, byte-order marks).

import fc from 'fast-check';

const TRICKY = [
  ...[
    '0',
    '-0',
    '1e3',
    '1.0',
    'null',
    'true',
    'NaN',
    '{}',
    '[]',
    '{"a":1}',
    '["a"]',
    '""',
    '"q"',
    "'q'",
    '{a,b}',
    'NULL',
  ],
  ...['\\', '\\\\', '\\N', '\\u0041', '\\x00', '\\"', '%00', '%', '$1', ':name', '?', '--', '/*', '&amp;', '<|end|>'],
  ...[' ', ' 0', '0 ', '\n', '\r\n', '\t', '\u0001', '\u001f', '\u007f', '\u0085', '\u00a0', '\u2028', '\u2029'],
  ...[
    '\ufeff',
    '\ufeff0',
    '\ufffd',
    '\uffff',
    '\u{10ffff}',
    'e\u0301',
    '\u00e9',
    '\u202e',
    '👨‍👩‍👧',
    '__proto__',
    'constructor',
    'id',
  ],
];

/** Code units, as limits of the API count. */
export function arbitraryText({ minLength = 1, maxLength = 200 } = {}): fc.Arbitrary<string> {
  return fc
    .oneof(
      { weight: 3, arbitrary: fc.constantFrom(...TRICKY) },
      { weight: 2, arbitrary: fc.json() },
      {
        weight: 2,
        arbitrary: fc.tuple(fc.constantFrom(...TRICKY), fc.string({ unit: 'binary' })).map((parts) => parts.join('')),
      },
      { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength }) },
      { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength }) },
    )
    .map((text) => text.replaceAll('\0', '').slice(0, maxLength).toWellFormed())
    .filter((text) => text.length >= minLength);
}
