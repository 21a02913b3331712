// Comparisons as a Parquet file, a row group in memory at a time. Lists and objects are Parquet's own; what differs from row
// to row (metadata, sampling) is JSON in a column of texts, and a prompt is either a text or a list of messages.

import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import type { ComparisonRecord, SideRecord, VoteRecord } from './record.ts';

/** Of a row group: whichever is reached first. Texts are counted in characters, and a token as the bytes it takes. */
const GROUP_ROWS = 2000;
const GROUP_LENGTH = 4 * 2 ** 20;

type Presence = 'REQUIRED' | 'OPTIONAL';

const text = (name: string, repetition_type: Presence = 'REQUIRED'): SchemaElement[] => [
  { name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type },
];
const number = (name: string, type: 'INT32' | 'INT64' | 'FLOAT', repetition_type: Presence = 'REQUIRED') => [
  { name, type, repetition_type } satisfies SchemaElement,
];
const flag = (name: string): SchemaElement[] => [{ name, type: 'BOOLEAN', repetition_type: 'REQUIRED' }];
const time = (name: string): SchemaElement[] => [
  { name, type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', repetition_type: 'REQUIRED' },
];
const object = (name: string, fields: SchemaElement[][], repetition_type: Presence = 'REQUIRED'): SchemaElement[] => [
  { name, repetition_type, num_children: fields.length },
  ...fields.flat(),
];
/** `element` is named so. */
const list = (name: string, element: SchemaElement[], repetition_type: Presence = 'REQUIRED'): SchemaElement[] => [
  { name, repetition_type, converted_type: 'LIST', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  ...element,
];

const side = (name: string) =>
  object(name, [
    text('generation'),
    text('policy'),
    text('text'),
    text('finish_reason'),
    list('token_ids', number('element', 'INT32')),
    list('logps', number('element', 'FLOAT')),
    number('stop_token', 'INT32', 'OPTIONAL'),
    list('prompt_token_ids', number('element', 'INT32')),
    text('sampling'),
    number('seed', 'INT64'),
  ]);

const reservation = object(
  'reservation',
  [text('id'), text('purpose'), flag('swapped'), number('probability', 'FLOAT'), number('guidelines_version', 'INT32')],
  'OPTIONAL',
);

const vote = object('element', [
  text('id'),
  time('created'),
  text('choice'),
  text('strength', 'OPTIONAL'),
  list('tags', text('element')),
  text('comment', 'OPTIONAL'),
  number('seconds', 'FLOAT', 'OPTIONAL'),
  text('rater'),
  text('trust'),
  text('edit', 'OPTIONAL'),
  text('metadata', 'OPTIONAL'),
  flag('redacted'),
  reservation,
]);

const COLUMNS = [
  text('id'),
  time('created'),
  text('prompt', 'OPTIONAL'),
  list('messages', object('element', [text('role'), text('content')]), 'OPTIONAL'),
  side('a'),
  side('b'),
  flag('swapped'),
  text('queue', 'OPTIONAL'),
  object('item', [text('id'), text('kind'), text('group'), text('expected', 'OPTIONAL')], 'OPTIONAL'),
  list('votes', vote),
  text('metadata', 'OPTIONAL'),
  flag('redacted'),
];
const SCHEMA = object('root', COLUMNS);
const NAMES = COLUMNS.map(([column]) => column!.name);

/** The bytes of the file, of a row group at a time. */
export async function* toParquet(records: AsyncIterable<ComparisonRecord>): AsyncGenerator<Uint8Array> {
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema: SCHEMA, createdBy: 'attune' });
  let rows: Row[] = [];
  let length = 0;
  const writeGroup = () => {
    const columnData = NAMES.map((name) => ({ name, data: rows.map((row) => row[name]) }));
    writer.write({ columnData, rowGroupSize: GROUP_ROWS });
    rows = [];
    length = 0;
  };
  const take = () => {
    const taken = bytes.getBytes().slice();
    // What was taken is not in the buffer any more; `offset` still counts it.
    bytes.index = 0;
    return taken;
  };
  for await (const record of records) {
    rows.push(toRow(record));
    length += measure(record);
    if (rows.length < GROUP_ROWS && length < GROUP_LENGTH) continue;
    writeGroup();
    yield take();
  }
  if (rows.length > 0) writeGroup();
  writer.finish();
  yield take();
}

type Row = Record<string, unknown>;

const BYTES_PER_TOKEN = 8;

function measure({ prompt, a, b, votes }: ComparisonRecord): number {
  const tokens = [a, b].reduce((sum, { token_ids, prompt_token_ids: ids }) => sum + token_ids.length + ids.length, 0);
  return JSON.stringify([prompt, a.text, b.text, votes]).length + BYTES_PER_TOKEN * tokens;
}

function toRow(record: ComparisonRecord): Row {
  const { prompt } = record;
  return {
    ...record,
    created: record.created * 1000,
    prompt: typeof prompt === 'string' ? prompt : null,
    messages: typeof prompt === 'string' ? null : prompt,
    a: toSideRow(record.a),
    b: toSideRow(record.b),
    votes: record.votes.map(toVoteRow),
    metadata: toJson(record.metadata),
  };
}

function toSideRow(record: SideRecord): Row {
  return { ...record, sampling: toJson(record.sampling), seed: BigInt(record.seed) };
}

function toVoteRow(record: VoteRecord): Row {
  return { ...record, created: record.created * 1000, metadata: toJson(record.metadata) };
}

const toJson = (value: object | null) => value && JSON.stringify(value);
