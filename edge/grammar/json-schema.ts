// Compiles a JSON Schema to the grammar of its documents: the subset of OpenAI's structured outputs and some more. Every
// keyword either restricts the documents exactly or is refused by its path; nothing is ignored but annotations. Properties
// come in the order of the schema.
import { FORMATS } from './formats.ts';
import { JsonText } from './json-text.ts';
import { type Bound, type NumberRange, numberRange } from './number-range.ts';
import { compilePattern } from './pattern.ts';
import {
  type Address,
  type Fragment,
  type Grammar,
  MAX_INSTRUCTIONS,
  ProgramBuilder,
  ProgramTooLarge,
} from './program.ts';
import { isFail, prune } from './prune.ts';
import { refuse } from './refuse.ts';

const ANNOTATIONS = new Set([
  ...['$schema', '$id', '$comment', '$defs', 'definitions'],
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
]);

const KEYWORDS = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  boolean: [],
  null: [],
} as const satisfies Record<string, readonly string[]>;

type TypeName = keyof typeof KEYWORDS;
const TYPES = Object.keys(KEYWORDS) as TypeName[];
const SUPPORTED = [...new Set(['type', 'enum', 'const', 'anyOf', 'allOf', '$ref', ...Object.values(KEYWORDS).flat()])];

/** Of the text of a schema: compiling it takes a tenth of a second at most. */
export const MAX_SCHEMA_LENGTH = 32_768;
/** Of all names beside which an object allows others. */
const MAX_EXCLUDED_LENGTH = 2000;

type Node = Record<string, unknown>;

/** Throws an AttuneError that names the keyword by its path, which begins with `path`. */
export function compileJsonSchema(schema: unknown, path: string): Grammar {
  const source = JSON.stringify(schema);
  if (source.length > MAX_SCHEMA_LENGTH)
    throw refuse(path, `it has ${source.length} characters; give at most ${MAX_SCHEMA_LENGTH}`);
  try {
    const grammar = prune(new SchemaCompiler(schema, path).compile(source));
    if (isFail(grammar)) throw refuse(path, 'no document satisfies it; look for bounds that exclude each other');
    return grammar;
  } catch (error) {
    if (!(error instanceof ProgramTooLarge)) throw error;
    throw refuse(path, `it compiles to more than ${MAX_INSTRUCTIONS} instructions; give fewer properties and values`);
  }
}

class SchemaCompiler {
  private readonly builder = new ProgramBuilder();
  private readonly json = new JsonText(this.builder);
  private readonly root: unknown;
  private readonly rootPath: string;
  /** A subschema is compiled once, however often it is referred to, and not inside another: references nest deeply. */
  private readonly rules = new Map<Node, Address>();
  private readonly leaves = new Map<string, Address>();
  private readonly pending: { node: Node; path: string }[] = [];

  constructor(root: unknown, rootPath: string) {
    this.root = root;
    this.rootPath = rootPath;
  }

  compile(source: string): Grammar {
    const start = this.refer(this.root, this.rootPath);
    for (let next = this.pending.pop(); next; next = this.pending.pop())
      this.builder.define(this.rules.get(next.node)!, this.compileNode(next.node, next.path));
    return this.builder.toGrammar(source, start);
  }

  /** The rule of a schema's documents, which is compiled later. */
  private refer(schema: unknown, path: string): Address {
    if (schema === true) return this.json.value;
    if (schema === false) return this.builder.fail;
    const node = readNode(schema, path);
    const known = this.rules.get(node);
    if (known !== undefined) return known;
    const rule = this.builder.declare();
    this.rules.set(node, rule);
    this.pending.push({ node, path });
    return rule;
  }

  private compileNode(node: Node, path: string): Fragment {
    const { $ref, anyOf, allOf } = node;
    for (const key of Object.keys(node))
      if (!SUPPORTED.includes(key) && !ANNOTATIONS.has(key))
        throw refuse(`${path}.${key}`, `this keyword is not supported; use ${SUPPORTED.join(', ')}`);
    if ($ref !== undefined) return this.alone(node, '$ref', path, () => this.compileReference($ref, `${path}.$ref`));
    if (anyOf !== undefined)
      return this.alone(node, 'anyOf', path, () => {
        const schemas = readList(anyOf, `${path}.anyOf`);
        return this.builder.either(
          ...schemas.map((schema, at) => this.builder.rule(this.refer(schema, `${path}.anyOf.${at}`))),
        );
      });
    if (allOf !== undefined)
      return this.alone(node, 'allOf', path, () => {
        const [schema, ...others] = readList(allOf, `${path}.allOf`);
        if (others.length > 0) throw refuse(`${path}.allOf`, 'only one schema is supported; merge them');
        return this.builder.rule(this.refer(schema, `${path}.allOf.0`));
      });
    if ('const' in node || node.enum !== undefined) return this.compileValues(node, path);
    const types = readTypes(node, path);
    if (types === null) return this.builder.rule(this.json.value);
    for (const key of Object.keys(node)) {
      const owners = TYPES.filter((type) => (KEYWORDS[type] as readonly string[]).includes(key));
      if (owners.length > 0 && !owners.some((type) => types.includes(type)))
        throw refuse(`${path}.${key}`, `it is for ${owners.join(' and ')}, and the type is ${types.join(', ')}`);
    }
    return this.builder.either(...types.map((type) => this.compileType(type, node, path)));
  }

  /** A rule that may be needed in several places. */
  private once(key: string, compile: () => Fragment): Fragment {
    const rule = this.leaves.get(key) ?? this.json.define(compile());
    this.leaves.set(key, rule);
    return this.builder.rule(rule);
  }

  /** Keywords beside this one would restrict its documents further, which needs intersections. */
  private alone(node: Node, keyword: string, path: string, compile: () => Fragment): Fragment {
    const other = Object.keys(node).find((key) => key !== keyword && !ANNOTATIONS.has(key));
    if (other !== undefined)
      throw refuse(`${path}.${other}`, `it is not supported beside ${keyword}; move it into the schemas of ${keyword}`);
    return compile();
  }

  private compileReference(reference: unknown, path: string): Fragment {
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference))
      throw refuse(path, 'only references into the same schema are supported; give one that starts with #/');
    const keys = reference
      .split('/')
      .slice(1)
      .map((key) => decodeKey(key).replaceAll('~1', '/').replaceAll('~0', '~'));
    let target = this.root;
    for (const key of keys) {
      if (typeof target !== 'object' || target === null || !Object.hasOwn(target, key))
        throw refuse(path, `there is no ${JSON.stringify(reference)} in the schema`);
      target = (target as Node)[key];
    }
    return this.builder.rule(this.refer(target, [this.rootPath, ...keys].join('.')));
  }

  /** Of enum or const: each value has one spelling, that of JSON.stringify. */
  private compileValues(node: Node, path: string): Fragment {
    for (const key of Object.keys(node))
      if (!['enum', 'const', 'type'].includes(key) && !ANNOTATIONS.has(key))
        throw refuse(`${path}.${key}`, 'it is not supported beside enum and const; leave out the values it excludes');
    let values = node.enum === undefined ? [node.const] : readList(node.enum, `${path}.enum`);
    if ('const' in node) values = values.filter((value) => JSON.stringify(value) === JSON.stringify(node.const));
    const types = readTypes(node, path);
    if (types) values = values.filter((value) => types.some((type) => isOfType(value, type)));
    return this.builder.either(...values.map((value) => this.builder.text(JSON.stringify(value))));
  }

  private compileType(type: TypeName, node: Node, path: string): Fragment {
    if (type === 'object') return this.compileObject(node, path);
    if (type === 'array') return this.compileArray(node, path);
    if (type === 'string') return this.compileString(node, path);
    if (type === 'boolean') return this.builder.either(this.builder.text('true'), this.builder.text('false'));
    if (type === 'null') return this.builder.text('null');
    return this.compileNumber(node, path, type === 'integer');
  }

  private compileObject(node: Node, path: string): Fragment {
    const { builder, json } = this;
    const properties = node.properties === undefined ? {} : readNode(node.properties, `${path}.properties`);
    const names = Object.keys(properties);
    const required = new Set(node.required === undefined ? [] : readList(node.required, `${path}.required`));
    for (const name of required)
      if (typeof name !== 'string' || !names.includes(name))
        throw refuse(`${path}.required`, `${JSON.stringify(name)} is not among the properties; describe it there`);
    // A schema that lists properties means these; one that lists none means any.
    const { additionalProperties: additional = node.properties === undefined } = node;
    const extra = this.compileAdditional(additional, names, `${path}.additionalProperties`);
    const pair = (name: string) =>
      builder.sequence(
        json.space,
        builder.text(JSON.stringify(name)),
        json.colon,
        builder.rule(this.refer(properties[name], `${path}.properties.${name}`)),
      );
    const comma = builder.text(',');
    const close = builder.sequence(json.space, builder.text('}'));
    return (next) => {
      // From the last property to the first: what may follow if a pair was written before, and if none was.
      let [after, first] = [close(next), close(next)];
      if (extra) {
        after = builder.repeat(builder.sequence(comma, extra), 0)(after);
        first = builder.either(extra, () => first)(after);
      }
      for (const name of names.toReversed()) {
        const [later, laterFirst] = [after, first];
        const own = pair(name);
        const isRequired = required.has(name);
        after = builder.either(builder.sequence(comma, own), () => (isRequired ? builder.fail : later))(later);
        first = builder.either(own, () => (isRequired ? builder.fail : laterFirst))(later);
      }
      return builder.text('{')(first);
    };
  }

  /** A pair of another name; null if there may be none. */
  private compileAdditional(schema: unknown, names: string[], path: string): Fragment | null {
    if (schema === false) return null;
    const { builder, json } = this;
    const excluded = names.reduce((sum, { length }) => sum + length, 0);
    if (excluded > MAX_EXCLUDED_LENGTH)
      throw refuse(
        path,
        `beside names of ${excluded} characters it is not supported; give at most ${MAX_EXCLUDED_LENGTH}, or false`,
      );
    const key = names.length === 0 ? builder.rule(json.string) : json.textExcept(names);
    return builder.sequence(json.space, key, json.colon, builder.rule(this.refer(schema, path)));
  }

  private compileArray(node: Node, path: string): Fragment {
    const { items = true } = node;
    const item = this.builder.rule(this.refer(items, `${path}.items`));
    return this.json.list(item, readCount(node, 'minItems', path) ?? 0, readCount(node, 'maxItems', path));
  }

  private compileString(node: Node, path: string): Fragment {
    const { pattern, format } = node;
    const [min, max] = [readCount(node, 'minLength', path), readCount(node, 'maxLength', path)];
    if (pattern === undefined && format === undefined) return this.json.text(min, max);
    const keyword = pattern === undefined ? 'format' : 'pattern';
    if (min !== undefined || max !== undefined)
      throw refuse(`${path}.${min === undefined ? 'maxLength' : 'minLength'}`, `it is not supported beside ${keyword}`);
    if (pattern !== undefined && format !== undefined)
      throw refuse(`${path}.format`, 'it is not supported beside pattern; leave out one of them');
    if (pattern !== undefined && typeof pattern !== 'string') throw refuse(`${path}.pattern`, 'give a text');
    const source = pattern ?? FORMATS.get(String(format));
    if (source === undefined)
      throw refuse(
        `${path}.format`,
        `${JSON.stringify(format)} is not supported; use ${[...FORMATS.keys()].join(', ')}`,
      );
    return this.once(`${keyword} ${source}`, () =>
      this.json.quote(compilePattern(this.json, source, `${path}.${keyword}`)),
    );
  }

  private compileNumber(node: Node, path: string, isInteger: boolean): Fragment {
    const range = readRange(node, path);
    const { multipleOf } = node;
    const decimals = multipleOf === undefined ? null : readDecimals(multipleOf, `${path}.multipleOf`);
    if (range.min === null && range.max === null && decimals === null)
      return this.builder.rule(isInteger ? this.json.integer : this.json.number);
    const scale = isInteger ? 0 : decimals;
    return this.once(`range ${JSON.stringify([range, scale])}`, () => numberRange(this.builder, range, scale));
  }
}

function readNode(value: unknown, path: string): Node {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Node;
  throw refuse(path, 'give an object');
}

function readList(value: unknown, path: string): unknown[] {
  if (Array.isArray(value) && value.length > 0) return value;
  // `required` may be empty.
  if (Array.isArray(value) && path.endsWith('.required')) return value;
  throw refuse(path, 'give an array that is not empty');
}

/** Of `type`; without it those of the keywords; null: any value. */
function readTypes(node: Node, path: string): TypeName[] | null {
  if (node.type === undefined) {
    const implied = TYPES.filter((type) => KEYWORDS[type].some((key) => key in node) && type !== 'integer');
    return implied.length === 0 ? null : implied;
  }
  const types = [node.type].flat();
  const unknown = types.find((type) => !TYPES.includes(type as TypeName));
  if (types.length === 0 || unknown !== undefined)
    throw refuse(`${path}.type`, `${JSON.stringify(unknown ?? [])} is no type; use ${TYPES.join(', ')}`);
  // Every integer is a number.
  return TYPES.filter((type) => types.includes(type) && !(type === 'integer' && types.includes('number')));
}

function readCount(node: Node, key: string, path: string): number | undefined {
  const value = node[key];
  if (value === undefined) return undefined;
  if (Number.isInteger(value) && (value as number) >= 0) return value as number;
  throw refuse(`${path}.${key}`, 'give a whole number, 0 or more');
}

function readRange(node: Node, path: string): NumberRange {
  const readBound = (key: string, isExclusive: boolean): Bound[] => {
    const value = node[key];
    if (value === undefined) return [];
    if (typeof value === 'number' && Number.isFinite(value)) return [{ value, isExclusive }];
    throw refuse(`${path}.${key}`, 'give a number');
  };
  const pick = (bounds: Bound[], sign: 1 | -1): Bound | null =>
    bounds.sort((a, b) => sign * (b.value - a.value) || Number(b.isExclusive) - Number(a.isExclusive))[0] ?? null;
  return {
    min: pick([...readBound('minimum', false), ...readBound('exclusiveMinimum', true)], 1),
    max: pick([...readBound('maximum', false), ...readBound('exclusiveMaximum', true)], -1),
  };
}

/** multipleOf 0.01 means at most two decimals. */
function readDecimals(value: unknown, path: string): number {
  const decimals = typeof value === 'number' ? -Math.log10(value) : Number.NaN;
  if (decimals >= 0 && decimals <= 15 && Number(`1e-${Math.round(decimals)}`) === value) return Math.round(decimals);
  throw refuse(path, 'only 1, 0.1, 0.01 and so on are supported');
}

function isOfType(value: unknown, type: TypeName): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
