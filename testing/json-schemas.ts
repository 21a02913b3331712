// Random JSON Schemas of what response_format supports, for property tests.
import fc from 'fast-check';

export type Schema = Record<string, unknown>;

const name = fc.constantFrom('a', 'ab', 'b', 'name', 'é', 'with space', 'q"uote', '漢字');
const bounds = fc
  .tuple(fc.integer({ min: -200, max: 200 }), fc.integer({ min: 0, max: 300 }))
  .map(([min, width]) => [min, min + width] as const);

const leaf: fc.Arbitrary<Schema> = fc.oneof(
  fc.constantFrom<Schema>({ type: 'boolean' }, { type: 'null' }, { type: 'integer' }, { type: 'number' }),
  fc.constantFrom<Schema>({ type: 'string' }, { type: ['string', 'null'] }, { type: ['integer', 'boolean'] }),
  bounds.map(([minimum, maximum]) => ({ type: 'integer', minimum, maximum })),
  bounds.map(([min, max]) => ({ type: 'number', minimum: min / 8, exclusiveMaximum: max / 8 + 1 })),
  fc.tuple(fc.nat(4), fc.nat(4)).map(([min, width]) => ({ type: 'string', minLength: min, maxLength: min + width })),
  fc
    .constantFrom('^[a-c]{2,3}(-\\d+)?$', '^(yes|no)$', '^\\w*[^a-z"]$')
    .map((pattern) => ({ type: 'string', pattern })),
  fc.constantFrom('date', 'time', 'uuid', 'ipv4').map((format) => ({ type: 'string', format })),
  fc
    .uniqueArray(fc.oneof(name, fc.integer(), fc.constant(null), fc.boolean()), { minLength: 1, maxLength: 4 })
    .map((values) => ({ enum: values })),
  name.map((value) => ({ const: value })),
);

/** Every value of such a schema can be written in a few hundred bytes. */
export const jsonSchemas: fc.Arbitrary<Schema> = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc
      .tuple(
        fc.uniqueArray(fc.tuple(name, tie('schema'), fc.boolean()), { selector: ([key]) => key, maxLength: 4 }),
        fc.boolean(),
      )
      .map(([fields, isOpen]) => ({
        type: 'object',
        properties: Object.fromEntries(fields.map(([key, schema]) => [key, schema])),
        required: fields.filter(([, , isRequired]) => isRequired).map(([key]) => key),
        additionalProperties: isOpen ? { type: 'boolean' } : false,
      })),
    fc.tuple(tie('schema'), fc.nat(2), fc.nat(2)).map(([items, min, width]) => ({
      type: 'array',
      items,
      minItems: min,
      maxItems: min + width,
    })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
  ),
})).schema;
