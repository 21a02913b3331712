// What response_format costs: compiling a schema, opening a vocabulary, and for each token the mask and sampling from it.
// Medians, because what else the machine does interrupts some.
//
//   node tools/bench/grammar.ts FOLDER [TOKENS]     the folder of a tokenizer; TOKENS: with so many, made of pairs of its own

import { compileJsonSchema } from '../../edge/grammar/json-schema.ts';
import { TokenGrammar } from '../../edge/grammar/token-grammar.ts';
import { TokenTrie } from '../../edge/grammar/token-trie.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { NEUTRAL_SAMPLING, sampleToken } from '../../shared/decoder/sampling.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

const many = (count: number, schema: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`property${at}`, schema]));
const SCHEMAS: Record<string, unknown> = {
  person: {
    type: 'object',
    properties: {
      name: { type: 'string' },
      age: { type: 'integer', minimum: 0, maximum: 120 },
      hobbies: { type: 'array', items: { type: 'string' }, maxItems: 5 },
    },
    required: ['name', 'age', 'hobbies'],
  },
  'any object': { type: 'object' },
  'a string of at most 60': { type: 'string', maxLength: 60 },
  '100 alternatives': {
    anyOf: Array.from({ length: 100 }, (_, at) => ({
      properties: { kind: { const: `k${at}` }, text: { type: 'string' } },
    })),
  },
  '500 optional properties': { type: 'object', properties: many(500, { type: 'string' }) },
  '2,000 values': { enum: Array.from({ length: 2000 }, (_, at) => `value ${(at * 7919) % 2003}`) },
  'an address': { type: 'string', format: 'email' },
};

const [folder, size] = process.argv.slice(2);
if (!folder) throw new Error('give the folder of a tokenizer');
const tokenizer = await Tokenizer.open(folder);
const random = seedRandom(1, 0);
const pick = () => Math.floor(random() * tokenizer.size);

const own = time('listing the bytes of the tokens', () => tokenizer.listTokenBytes());
const extra = Array.from(
  { length: Math.max(0, Number(size ?? 0) - own.length) },
  () => `${own[pick()] ?? ''}${own[pick()] ?? ''}`,
);
// As another thread gets them.
const tokens = structuredClone([...own, ...extra]);
const trie = time(`a trie of ${tokens.length} tokens`, () => new TokenTrie(tokens));
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const logits = Float32Array.from(tokens, (_, token) => 2.2 * normal() - 1.5 * Math.log1p(token / 200));
const logNormalizer = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
const sample = (mask: Parameters<typeof sampleToken>[5] = null) =>
  sampleToken(logits, logNormalizer, NEUTRAL_SAMPLING, new Map(), random, mask);
for (let warm = 0; warm < 2000; warm++) sample();

console.log(
  '| schema | compile, ms | instructions | first mask of a state, ms: median, 90% | kept mask and sampling, ms |\n|---|---|---|---|---|',
);
for (const [name, schema] of Object.entries(SCHEMAS)) {
  const startedAt = performance.now();
  const compiled = compileJsonSchema(schema, 'schema');
  const compileMs = performance.now() - startedAt;
  const grammar = new TokenGrammar(compiled, trie, { eos: tokenizer.eos, vocabSize: tokens.length });
  const seen = new Set<object>();
  const [first, kept] = [[] as number[], [] as number[]];
  for (let text = 0; text < 6; text++) {
    let state = grammar.start;
    for (let count = 0; count < 40; count++) {
      const begun = performance.now();
      const mask = grammar.getMask(state);
      const masked = performance.now();
      grammar.getMask(state);
      const token = sample(mask);
      if (!seen.has(mask)) first.push(masked - begun);
      seen.add(mask);
      kept.push(performance.now() - masked);
      if (tokenizer.eos.includes(token)) break;
      state = grammar.advance(state, token);
    }
  }
  console.log(
    `| ${name} | ${compileMs.toFixed(1)} | ${compiled.code.length / 5} | ${rank(first, 0.5).toFixed(1)}, ${rank(first, 0.9).toFixed(1)} | ${rank(kept, 0.5).toFixed(3)} |`,
  );
}

function rank(values: number[], share: number): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length * share)]!;
}

function time<T>(name: string, act: () => T): T {
  const startedAt = performance.now();
  const result = act();
  console.log(`${name}: ${(performance.now() - startedAt).toFixed(0)} ms`);
  return result;
}
