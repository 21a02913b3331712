import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { seedRandom } from '../../shared/decoder/random.ts';
import { AttuneError } from '../../shared/error.ts';
import { jsonSchemas, type Schema } from '../../testing/json-schemas.ts';
import { Automaton, type State } from './automaton.ts';
import { compileJsonSchema, MAX_SCHEMA_LENGTH } from './json-schema.ts';
import type { Grammar } from './program.ts';

function accepts(grammar: Grammar, text: string): boolean {
  const automaton = new Automaton(grammar);
  let state: State | null = automaton.start;
  for (const byte of new TextEncoder().encode(text)) state = state && automaton.advance(state, byte);
  return state?.isComplete === true;
}

function assertDocuments(schema: unknown, valid: string[], invalid: string[]): void {
  const grammar = compileJsonSchema(schema, 'schema');
  for (const text of valid) assert.ok(accepts(grammar, text), `${text} is valid for ${JSON.stringify(schema)}`);
  for (const text of invalid) assert.ok(!accepts(grammar, text), `${text} is invalid for ${JSON.stringify(schema)}`);
}

const object = (properties: Schema, others: Schema = {}) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...others,
});

test('integers, with bounds too', () => {
  const long = '1234567890123456';
  assertDocuments({ type: 'integer' }, ['0', '12', '-12', long.slice(0, 15)], ['-0', '01', '1.0', '1e3', '', long]);
  assertDocuments(
    { type: 'integer', minimum: -5, maximum: 120 },
    ['-5', '0', '99', '120'],
    ['-6', '121', '1000', '-50'],
  );
  assertDocuments({ type: 'integer', exclusiveMinimum: 0, maximum: 9.5 }, ['1', '9'], ['0', '10']);
  const safe = { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER };
  assertDocuments(safe, ['0', '9007199254740991', '-9007199254740991'], ['9007199254740992', '-9007199254740992']);
});

test('numbers, with bounds and decimals too', () => {
  assertDocuments({ type: 'number' }, ['0', '-0.5', '1e5', '1.25E-12'], ['1.', '.5', '+1', '1e100', '00']);
  assertDocuments(
    { type: 'number', minimum: 0, maximum: 1 },
    ['0', '1', '1.0', '0.999'],
    ['1.1', '1.00001', '-0.1', '2'],
  );
  const open = { type: 'number', exclusiveMinimum: 0.5, exclusiveMaximum: 2.25 };
  assertDocuments(open, ['0.501', '2', '2.2499', '1.9'], ['0.5', '0.50', '2.25', '2.250', '2.3', '0']);
  assertDocuments(
    { type: 'number', minimum: -1.5, maximum: -0.25 },
    ['-1.5', '-1.50', '-0.25'],
    ['-1.51', '-0.2', '0', '-0'],
  );
  assertDocuments({ type: 'number', minimum: 0, multipleOf: 0.01 }, ['0', '1.25', '19.9'], ['1.255', '-1']);
  assertDocuments({ type: 'number', minimum: 1e-7 }, ['0.0000001', '1'], ['0', '0.00000001']);
  assertDocuments({ type: 'number', minimum: 1e20 }, [`1${'0'.repeat(20)}`], ['9'.repeat(20)]);
});

test('strings: lengths in code points, escapes without half surrogate pairs', () => {
  const short = { type: 'string', maxLength: 3 };
  assertDocuments(
    short,
    ['""', '"abc"', '"é漢👋"', '"\\n\\u00e9\\ud83d\\udc4b"'],
    ['"abcd"', '"\\ud83d"', '"\n"', '"a'],
  );
  assertDocuments({ type: 'string', minLength: 2 }, ['"ab"', `"${'x'.repeat(500)}"`], ['""', '"a"']);
});

test('patterns match anywhere unless they are anchored', () => {
  assertDocuments({ type: 'string', pattern: '^[a-c]+(-\\d{2,3})?$' }, ['"abc"', '"abc-12"'], ['"abc-1"', '"d"', '""']);
  assertDocuments({ type: 'string', pattern: 'x.z' }, ['"xyz"', '"aaxyzbb"', '"x\\"z"'], ['"xz"', '"x\\nz"']);
  assertDocuments({ type: 'string', pattern: '^a|b$' }, ['"ax"', '"xb"'], ['"xa"', '"bx"']);
  assertDocuments({ type: 'string', pattern: '^(?:a?){2,3}[^\\w\\s]$' }, ['"aa-"', '"漢"'], ['"aaaa-"', '"a"']);
});

test('formats', () => {
  const cases: Record<string, [valid: string[], invalid: string[]]> = {
    date: [
      ['2024-02-29', '2000-02-29', '2023-12-31'],
      ['2023-02-29', '1900-02-29', '2023-04-31', '2023-13-01'],
    ],
    time: [
      ['23:59:59Z', '00:00:00.5+01:00'],
      ['24:00:00Z', '12:00:00'],
    ],
    'date-time': [['2024-01-31T23:59:59.5Z'], ['2024-02-30T00:00:00Z', '2024-01-31']],
    duration: [
      ['P3D', 'PT1H30M', 'P2W'],
      ['P', 'PT', '3D'],
    ],
    email: [
      ['a.b@c.de', 'x@mail.example.org'],
      ['a@b', '.a@b.de', 'a b@c.de'],
    ],
    hostname: [
      ['a-b.c', 'localhost'],
      ['-a', 'a..b'],
    ],
    ipv4: [
      ['255.1.2.3', '0.0.0.0'],
      ['256.1.1.1', '1.2.3', '01.2.3.4'],
    ],
    ipv6: [
      ['2001:db8::1', '::', '1:2:3:4:5:6:7:8'],
      ['1::2::3', '1:2:3:4:5:6:7'],
    ],
    uuid: [['123e4567-e89b-42d3-a456-426614174000'], ['123e4567', '123e4567-e89b-02d3-a456-426614174000']],
  };
  const quote = (texts: string[]) => texts.map((text) => JSON.stringify(text));
  for (const [format, [valid, invalid]] of Object.entries(cases))
    assertDocuments({ type: 'string', format }, quote(valid), quote(invalid));
});

test('objects: order of the schema, optional and additional properties, bounded white space', () => {
  const mixed = object({ a: { type: 'integer' }, b: { type: 'string' }, c: { type: 'boolean' } }, { required: ['b'] });
  assertDocuments(
    mixed,
    ['{"b":"x"}', '{"a":1,"b":"x"}', '{"a": 1, "b": "x", "c": true}', '{\n  "b": "x"\n}', '{ "b":"x" }'],
    [
      '{}',
      '{"a":1}',
      '{"b":"x","a":1}',
      '{"b":"x","d":1}',
      '{"b":"x",}',
      '{"b":  "x"}',
      `{${' '.repeat(99)}"b":"x"}`,
      ' {"b":"x"}',
    ],
  );
  const open = object({ ab: { type: 'integer' } }, { required: [], additionalProperties: { type: 'boolean' } });
  assertDocuments(
    open,
    ['{}', '{"ab":1}', '{"a":true}', '{"abc":true,"x":false}', '{"ab":1,"":true}', '{"é\\n":true}'],
    ['{"ab":true}', '{"ab":1,"ab":true}', '{"\\u0061b":true}', '{"x":1}'],
  );
  // Without properties any, with properties only these.
  assertDocuments({ type: 'object' }, ['{}', '{"x":[{}]}'], ['[]']);
  assertDocuments({ properties: { a: {} } }, ['{}', '{"a":[1]}'], ['{"b":1}', '1']);
});

test('arrays, alternatives, values and references', () => {
  const two = { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 2 };
  assertDocuments(two, ['[1]', '[1,2]', '[1, 2]', '[\n1,\n2\n]'], ['[]', '[1,2,3]', '[1,]']);
  assertDocuments({ type: 'array', maxItems: 0 }, ['[]', '[ ]'], ['[1]']);
  assertDocuments({ anyOf: [{ type: 'null' }, two] }, ['null', '[1]'], ['1']);
  assertDocuments({ enum: ['a"', 1, null, { x: [1] }] }, ['"a\\""', '1', 'null', '{"x":[1]}'], ['2', '{"x": [1]}']);
  assertDocuments({ type: 'string', enum: ['a', 1], title: 'ignored' }, ['"a"'], ['1']);
  const tree = object({ value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#/$defs/tree' } } });
  assertDocuments(
    { $defs: { tree }, allOf: [{ $ref: '#/$defs/tree' }] },
    ['{"value":1,"children":[{"value":2,"children":[]}]}'],
    ['{"value":1}', '{"value":1,"children":[{"value":2}]}'],
  );
  assertDocuments({ anyOf: [{ $ref: '#' }, { const: 1 }] }, ['1'], ['2']);
  assertDocuments({}, ['null', '[{"a":"b"}]', '-1.5'], ['x', '']);
});

test('an object without properties is any object', () => {
  assert.ok(accepts(compileJsonSchema({ type: 'object' }, 'schema'), '{"a": [1, {"b": null}], "c": "\\u00e9"}'));
  for (const text of ['[]', '1', '{"a"}', '{a:1}'])
    assert.ok(!accepts(compileJsonSchema({ type: 'object' }, 'schema'), text));
});

test('what is not supported is refused by its path', () => {
  const cases: [schema: unknown, path: string, message: RegExp][] = [
    [
      object({ x: { type: 'string', contentEncoding: 'base64' } }),
      'properties.x.contentEncoding',
      /not supported; use type/,
    ],
    [object({ x: { oneOf: [] } }), 'properties.x.oneOf', /not supported/],
    [object({ x: { type: 'string', pattern: '(?=a)b' } }), 'properties.x.pattern', /\(\?=a\) at character 0/],
    [object({ x: { type: 'string', pattern: '(' } }), 'properties.x.pattern', /Unterminated group/],
    [object({ x: { type: 'string', pattern: '\\p{L}' } }), 'properties.x.pattern', /\\p\{L\}/],
    [object({ x: { type: 'string', pattern: 'a'.repeat(1001) } }), 'properties.x.pattern', /at most 1000/],
    [object({ x: { type: 'string', format: 'iri' } }), 'properties.x.format', /"iri" is not supported; use date/],
    [object({ x: { type: 'string', format: 'date', maxLength: 3 } }), 'properties.x.maxLength', /beside format/],
    [object({ x: { type: 'string', minItems: 1 } }), 'properties.x.minItems', /for array, and the type is string/],
    [object({ x: { type: 'text' } }), 'properties.x.type', /"text" is no type/],
    [object({ x: { type: 'number', multipleOf: 3 } }), 'properties.x.multipleOf', /1, 0.1, 0.01/],
    [object({ x: { type: 'array', minItems: -1 } }), 'properties.x.minItems', /0 or more/],
    [object({ x: { anyOf: [{}], type: 'string' } }), 'properties.x.type', /beside anyOf/],
    [object({ x: { allOf: [{}, {}] } }), 'properties.x.allOf', /only one/],
    [object({ x: { enum: [] } }), 'properties.x.enum', /not empty/],
    [object({ x: { $ref: '#/$defs/none' } }), 'properties.x.$ref', /no "#\/\$defs\/none"/],
    [object({ x: { $ref: 'https://example.org/x' } }), 'properties.x.$ref', /same schema/],
    [{ $defs: { y: { minimum: 'x' } }, $ref: '#/$defs/y' }, '$defs.y.minimum', /a number/],
    [object({ x: {} }, { required: ['y'] }), 'required', /"y" is not among/],
    [object({ x: 3 }), 'properties.x', /give an object/],
    [
      { type: 'object', properties: { ['x'.repeat(2001)]: {} }, additionalProperties: true },
      'additionalProperties',
      /2001/,
    ],
  ];
  for (const [schema, path, message] of cases)
    assert.throws(() => compileJsonSchema(schema, 'root'), {
      name: 'AttuneError',
      status: 400,
      param: `root.${path}`,
      message,
    });
});

test('whatever a keyword has as its value, the schema is compiled or refused', () => {
  const keywords =
    'type enum const anyOf allOf $ref properties required additionalProperties items minItems maxItems minLength maxLength pattern format minimum exclusiveMaximum multipleOf $defs'.split(
      ' ',
    );
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('object', 'string', '#', '#/properties', 'constructor', [{}], { x: {} }, 0.1, 3),
  );
  const node = fc.dictionary(fc.constantFrom(...keywords), value, { minKeys: 1, maxKeys: 4 });
  const compile = (schema: Schema) => {
    try {
      compileJsonSchema(schema, 'root');
    } catch (error) {
      if (!(error instanceof AttuneError)) throw error;
    }
  };
  fc.assert(fc.property(node, compile), { numRuns: 1000 });
});

test('a schema without documents is refused', () => {
  const endless = object({ next: { $ref: '#' } });
  for (const schema of [
    endless,
    { type: 'integer', minimum: 2, maximum: 1 },
    { type: 'string', enum: [1] },
    object({ x: false }),
  ])
    assert.throws(() => compileJsonSchema(schema, 'root'), { param: 'root', message: /no document satisfies it/ });
});

test('large and deep schemas are compiled or refused', () => {
  const many = (count: number, schema: (at: number) => unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`p${at}`, schema(at)]));
  const chain = (count: number) => ({
    $defs: { ...many(count, (at) => ({ $ref: `#/$defs/p${at + 1}` })), [`p${count}`]: {} },
    $ref: '#/$defs/p0',
  });
  assert.ok(accepts(compileJsonSchema(chain(1000), 'root'), '1'));
  assert.ok(
    accepts(compileJsonSchema({ type: 'string', pattern: `${'('.repeat(490)}a${')'.repeat(490)}` }, 'root'), '"a"'),
  );
  const wide = compileJsonSchema({ type: 'object', properties: many(800, () => ({ type: 'boolean' })) }, 'root');
  assert.ok(accepts(wide, '{"p3":true,"p799":false}'));
  const closed = {
    type: 'object',
    properties: { ['x'.repeat(1000)]: {}, ['y'.repeat(999)]: {} },
    additionalProperties: true,
  };
  assert.ok(accepts(compileJsonSchema(closed, 'root'), '{"z":1}'));
  assert.throws(() => compileJsonSchema({ enum: ['é'.repeat(MAX_SCHEMA_LENGTH)] }, 'root'), {
    param: 'root',
    message: /at most 32768/,
  });
});

test('every text of a random schema’s grammar satisfies it', () => {
  fc.assert(
    fc.property(jsonSchemas, fc.nat(), (schema, seed) => {
      const text = writeRandomText(compileJsonSchema(schema, 'root'), seed);
      const result = z.fromJSONSchema(schema).safeParse(parseShort(text));
      assert.ok(result.success, `${text}: ${result.error?.message}`);
    }),
    { numRuns: 300 },
  );
});

/** zod counts UTF-16 units, and JSON Schema code points: here every character is one of both. */
function parseShort(text: string): unknown {
  return JSON.parse(JSON.stringify(JSON.parse(text)).replaceAll(/[\u{10000}-\u{10ffff}]/gu, '漢'));
}

/** Random bytes of the grammar, the likelier an end the longer the text. */
function writeRandomText(grammar: Grammar, seed: number): string {
  const automaton = new Automaton(grammar);
  const random = seedRandom(seed, 0);
  const bytes: number[] = [];
  let state = automaton.start;
  while (true) {
    if (state.isComplete && (random() < 0.5 || bytes.length > 300)) break;
    const possible = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => automaton.advance(state, byte));
    if (possible.length === 0) break;
    // Closing characters and simple letters, so that the text ends.
    const closing = possible.filter((byte) => '"]},'.includes(String.fromCharCode(byte)));
    const choices = closing.length > 0 && random() < (bytes.length > 300 ? 0.9 : 0.2) ? closing : possible;
    const byte = choices[Math.floor(random() * choices.length)]!;
    bytes.push(byte);
    state = automaton.advance(state, byte)!;
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
}
