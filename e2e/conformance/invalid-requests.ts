// Invalid requests with the parameter that the error names.

const messages = [{ role: 'user', content: 'Once upon a time' }];
const CHAT = '/v1/chat/completions';
const TEXT = '/v1/completions';
const PREFERENCES = '/v1/preferences';
const COMPARISONS = '/v1/comparisons';
const ROUNDS = '/v1/rounds';
const SCORE = '/v1/score';

export type InvalidRequest = {
  name: string;
  path: string;
  json: unknown;
  status?: number;
  param: string | null;
  message: RegExp;
};

const invalid = (
  path: string,
  name: string,
  json: unknown,
  param: string | null,
  message: RegExp,
  status = 400,
): InvalidRequest => ({
  name,
  path,
  json,
  status,
  param,
  message,
});
const keysOf = <T>(count: number, value: T) =>
  Object.fromEntries(Array.from({ length: count }, (_, key) => [key, value]));
const chat = (name: string, fields: object, param: string, message: RegExp, status = 400) =>
  invalid(CHAT, name, { messages, ...fields }, param, message, status);
const vote = (name: string, json: object, param: string, status = 400) =>
  invalid(PREFERENCES, name, json, param, /./, status);

const SCHEMA = 'response_format.json_schema';
const schema = (schema: object) => ({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } });

export const INVALID_REQUESTS: InvalidRequest[] = [
  ...['user:ann', 'import:ann', 'rater_1', 'key_1'].map((rater) =>
    invalid(
      PREFERENCES,
      `a rater called ${rater}`,
      { prompt: 'a', chosen: 'b', rejected: 'c', rater },
      'rater',
      /^rater: give your own name for the end user; Attune adds user: itself$/,
    ),
  ),
  chat('a temperature below 0', { temperature: -1 }, 'temperature', /0/),
  chat('a temperature that is not a number', { temperature: 'hot' }, 'temperature', /number/),
  chat('a thousand choices', { n: 1000 }, 'n', /16/),
  chat('zero choices', { n: 0 }, 'n', /1/),
  chat('a fractional number of choices', { n: 1.5 }, 'n', /whole number/),
  chat('a top_p of 0', { top_p: 0 }, 'top_p', /0/),
  chat('a top_p over 1', { top_p: 1.1 }, 'top_p', /1/),
  chat('a negative top_k', { top_k: -1 }, 'top_k', /0/),
  chat('a min_p over 1', { min_p: 2 }, 'min_p', /1/),
  chat('a penalty out of range', { presence_penalty: 3 }, 'presence_penalty', /2/),
  chat('zero tokens', { max_tokens: 0 }, 'max_tokens', /1/),
  chat(
    'more tokens than the context holds',
    { max_tokens: 128 },
    'max_tokens',
    /128 exceeds the \d+ tokens .* the context/,
  ),
  chat(
    'max_completion_tokens over the context',
    { max_completion_tokens: 1e9 },
    'max_completion_tokens',
    /1000000000 exceeds the \d+ tokens .* the context/,
  ),
  chat('a negative seed', { seed: -1 }, 'seed', /0/),
  chat('a logit_bias for a word', { logit_bias: { word: 1 } }, 'logit_bias.word', /token ids/),
  chat('a logit_bias for an unknown token', { logit_bias: { 99999: 1 } }, 'logit_bias', /outside the vocabulary/),
  chat('a logit_bias for 301 tokens', { logit_bias: keysOf(301, 1) }, 'logit_bias', /at most 300/),
  chat('an endless stop string', { stop: 'x'.repeat(513) }, 'stop', /512/),
  chat('an endless user', { user: 'x'.repeat(513) }, 'user', /512/),
  chat('an endless model', { model: 'x'.repeat(201) }, 'model', /200/),
  chat('seventeen keys of metadata', { metadata: keysOf(17, 'x') }, 'metadata', /at most 16 keys/),
  chat('a metadata key of 65 characters', { metadata: { ['k'.repeat(65)]: 'x' } }, 'metadata', /64 characters/),
  chat('a metadata value of 513 characters', { metadata: { a: 'x'.repeat(513) } }, 'metadata.a', /512/),
  chat('2,049 messages', { messages: Array(2049).fill(messages[0]) }, 'messages', /at most 2048/),
  chat('a name of 65 characters', { messages: [{ ...messages[0], name: 'n'.repeat(65) }] }, 'messages.0.name', /64/),
  chat('five stop strings', { stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', /at most 4/),
  chat('a stream that is not a boolean', { stream: 'yes' }, 'stream', /boolean/),
  chat('a metadata value that is not a string', { metadata: { a: 1 } }, 'metadata.a', /string/),
  chat('top_logprobs without logprobs', { top_logprobs: 2 }, 'top_logprobs', /logprobs: true/),
  chat('an unknown field', { temprature: 1 }, 'temprature', /^unknown field "temprature"$/),
  chat(
    'an unknown nested field',
    { stream_options: { usage: true } },
    'stream_options.usage',
    /^unknown field "stream_options.usage"$/,
  ),
  ...['tools', 'tool_choice', 'parallel_tool_calls', 'functions', 'function_call'].map((field) =>
    chat(`an unsupported field, ${field}`, { [field]: [] }, field, /^\w+: tools are not supported; .* response_format/),
  ),
  chat('a format of an unknown type', { response_format: { type: 'xml' } }, 'response_format.type', /json_schema/),
  chat(
    'a schema without a name',
    { response_format: { type: 'json_schema', json_schema: {} } },
    `${SCHEMA}.name`,
    /string/,
  ),
  chat(
    'a schema with an unsupported keyword',
    schema({ type: 'object', properties: { x: { type: 'string', pattern: '^(?=a)' } } }),
    `${SCHEMA}.schema.properties.x.pattern`,
    /^response_format\.json_schema\.schema\.properties\.x\.pattern: \(\?=a\) at character 1 is not supported/,
  ),
  chat(
    'an unsatisfiable schema',
    schema({ type: 'integer', minimum: 1, maximum: 0 }),
    `${SCHEMA}.schema`,
    /no document/,
  ),
  chat('a huge schema', schema({ enum: ['x'.repeat(40_000)] }), `${SCHEMA}.schema`, /at most 32768/),
  invalid(
    COMPARISONS,
    'a comparison with an unsupported schema',
    { messages, ...schema({ not: {} }) },
    `${SCHEMA}.schema.not`,
    /not supported/,
  ),
  chat('an unknown policy', { model: 'pol_unknown' }, 'model', /pol_unknown/, 404),
  chat('a path as policy id', { model: '../pol_unknown' }, 'model', /pol_unknown/, 404),
  chat('messages of the wrong type', { messages: 'hello' }, 'messages', /array/),
  chat('no messages', { messages: undefined }, 'messages', /array/),
  chat('empty messages', { messages: [] }, 'messages', /at least one message/),
  chat('messages without content', { messages: [{ role: 'user', content: ' ' }] }, 'messages', /empty/),
  chat('an unknown role', { messages: [{ role: 'tool', content: 'x' }] }, 'messages.0.role', /user/),
  chat(
    'an image',
    { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
    'messages.0.content',
    /text parts/,
  ),
  chat(
    'a prompt longer than the context',
    { messages: [{ role: 'user', content: 'b'.repeat(700) }] },
    'messages',
    /tokens, .* context of/,
  ),

  invalid(
    TEXT,
    'a prompt of more characters than the context can hold',
    { prompt: 'b'.repeat(5000) },
    'prompt',
    /5000 characters, .* tokens of up to \d+ characters/,
  ),
  invalid(
    CHAT,
    'a chat of more characters than the context can hold',
    { messages: [{ role: 'user', content: 'b'.repeat(5000) }] },
    'messages',
    /5000 characters/,
  ),
  invalid(TEXT, 'an empty prompt', { prompt: '' }, 'prompt', /empty/),
  invalid(TEXT, 'no prompt', {}, 'prompt', /give a text/),
  invalid(TEXT, 'a prompt of mixed types', { prompt: ['Once', 1] }, 'prompt', /give a text/),
  invalid(TEXT, 'a token outside the vocabulary', { prompt: [999999] }, 'prompt', /vocabulary/),
  invalid(TEXT, 'too many logprobs', { prompt: 'Once', logprobs: 6 }, 'logprobs', /5/),

  chat('fewer candidates than choices', { n: 3, best_of: 2 }, 'best_of', /n or more/),
  chat('more candidates than rows', { best_of: 1000 }, 'best_of', /16 rows .* 16 or less/),
  chat('a stream of ranked choices', { best_of: 2, stream: true }, 'stream', /cannot be streamed/),
  chat('an unknown ranker', { best_of: 2, ranker: 'length' }, 'ranker', /mean_logp, log_ratio, or the id of a reward/),
  chat('an unknown reward as ranker', { best_of: 2, ranker: 'rwd_none' }, 'ranker', /rwd_none/, 404),
  chat('log-ratios of a policy without a reference', { ranker: 'log_ratio' }, 'ranker', /has no reference/),

  invalid(SCORE, 'a score without a prompt', { response: 'b' }, 'messages', /either messages or prompt/),
  invalid(SCORE, 'a score of messages and prompt', { messages, prompt: 'a', response: 'b' }, 'messages', /either/),
  invalid(SCORE, 'a score without responses', { prompt: 'a' }, 'responses', /either responses or response/),
  invalid(SCORE, 'no responses', { prompt: 'a', responses: [] }, 'responses', /at least one/),
  invalid(SCORE, 'an empty response', { prompt: 'a', responses: ['b', ''] }, 'responses.1', /give a text/),
  invalid(SCORE, '65 responses', { prompt: 'a', responses: Array(65).fill('b') }, 'responses', /64/),
  invalid(SCORE, 'text after token ids', { prompt: [1, 5], response: 'b' }, 'responses', /give token ids/),
  invalid(SCORE, 'a score of an unknown token', { prompt: [1], response: [999999] }, 'responses', /vocabulary/),
  invalid(SCORE, 'a long response', { prompt: 'a', response: 'b'.repeat(700) }, 'responses', /tokens, .* context of/),
  invalid(SCORE, 'a score by an unknown policy', { model: 'pol_none', prompt: 'a', response: 'b' }, 'model', /./, 404),
  invalid(
    SCORE,
    'a score against an unknown policy',
    { reference: 'pol_none', prompt: 'a', response: 'b' },
    'reference',
    /pol_none/,
    404,
  ),

  invalid(COMPARISONS, 'a comparison without a prompt', {}, 'messages', /either messages or prompt/),
  invalid(
    COMPARISONS,
    'a comparison with messages and prompt',
    { messages, prompt: 'Once' },
    'messages',
    /either messages or prompt/,
  ),
  invalid(COMPARISONS, 'both model and models', { prompt: 'Once', model: 'a', models: ['a', 'b'] }, 'models', /either/),
  invalid(COMPARISONS, 'a comparison of three policies', { prompt: 'Once', models: ['a', 'b', 'c'] }, 'models', /./),
  invalid(
    COMPARISONS,
    'a comparison of unknown policies',
    { prompt: 'Once', models: ['pol_a', 'pol_b'] },
    'model',
    /pol_a/,
    404,
  ),

  vote('a vote without a choice', { comparison: 'cmp_1' }, 'choice'),
  vote('a vote on an unknown comparison', { comparison: 'cmp_1', choice: 'a' }, 'comparison', 404),
  vote('a vote on an empty comparison id', { comparison: '', choice: 'a' }, 'comparison'),
  vote('an unknown choice', { comparison: 'cmp_1', choice: 'c' }, 'choice'),
  vote('a choice without a comparison', { choice: 'a', prompt: 'x', chosen: 'y', rejected: 'z' }, 'choice'),
  vote('a vote with its own texts', { comparison: 'cmp_1', choice: 'a', chosen: 'y' }, 'chosen'),
  vote('an unknown generation', { chosen: 'chatcmpl-1', rejected: 'chatcmpl-2' }, 'chosen', 404),
  vote('an empty side', { prompt: 'x', chosen: '', rejected: 'z' }, 'chosen'),
  vote('a single side', { prompt: 'x', chosen: 'y' }, 'rejected'),
  vote('two equal sides', { prompt: 'x', chosen: 'y', rejected: 'y' }, 'rejected'),
  vote('an empty preference', {}, 'chosen'),
  vote(
    'endless metadata',
    { prompt: 'x', chosen: 'y', rejected: 'z', metadata: { a: 'x'.repeat(16_384) } },
    'metadata',
  ),
  vote('an empty rater', { prompt: 'x', chosen: 'y', rejected: 'z', rater: '' }, 'rater'),

  invalid(ROUNDS, 'an unsupported training method', { method: { type: 'dpo' } }, 'method.type', /dil/),
  invalid(
    ROUNDS,
    'an unknown hyperparameter',
    { method: { type: 'dil', dil: { lr: 1 } } },
    'method.dil.lr',
    /^unknown field "method.dil.lr"$/,
  ),
  invalid(
    ROUNDS,
    'the path of a module as objective',
    { method: { type: 'dil', dil: { objective: './my-h.ts' } } },
    'method.dil.objective',
    /lsif/,
  ),

  invalid('/v1/policies/pol_none/promote', 'the promotion of an unknown policy', {}, 'model', /pol_none/, 404),
  invalid('/v1/policies/pol_none/promote', 'a promotion from a number', { canary: 1 }, 'canary', /string/),
  invalid('/v1/policies/rollback', 'a rollback from nothing', { from: null }, 'from', /string/),
  invalid('/v1/policies/rollback', 'a rollback to a policy', { to: 'pol_a' }, 'to', /^unknown field "to"$/),
];
