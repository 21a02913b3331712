// One row of a file of preferences → records, whatever its shape. Holds what is true of every shape: two answers that can
// be told apart, a prompt, and nothing in it that the database would refuse. The row's other keys become metadata.
import { AttuneError } from '../error.ts';
import { assertStorable } from '../storable.ts';
import { FORMATS, type Format, type Judgement, type Row } from './formats.ts';
import { describe } from './message-schemas.ts';
import type { PreferenceRecord } from './record.ts';

const ID_KEYS = ['id', 'question_id', 'idx'];
const RATER_KEYS = ['rater', 'judge'];

/** One row of any shape → its records; several where several people judged. Throws what is wrong and how to mend it. */
export function parseRow(row: unknown): PreferenceRecord[] {
  if (row === null || typeof row !== 'object' || Array.isArray(row))
    throw new AttuneError(`is ${describe(row)}; each row must be an object`);
  const shape = FORMATS.find((shape) => shape.matches(row as Row));
  if (!shape) {
    const found = Object.keys(row).slice(0, 20).join(', ') || 'none';
    const known = FORMATS.map(({ name, keys }) => `${name} {${keys}}`).join(', ');
    throw new AttuneError(`the shape is unknown: its keys are ${found}; write it as one of ${known}`);
  }
  try {
    assertStorable(row);
    return shape.parse(row as Row).map((judgement) => finish(shape, row as Row, judgement));
  } catch (error) {
    if (error instanceof AttuneError) throw new AttuneError(`${shape.name}: ${error.message}`);
    throw error;
  }
}

function finish({ knownKeys: uses, responseKeys: sides }: Format, row: Row, judgement: Judgement): PreferenceRecord {
  const { prompt, a, b, choice, rater } = judgement;
  for (const [index, side] of [a, b].entries())
    if (side.trim() === '') throw new AttuneError(`${sides[index]} is empty; give the text of the answer`);
  if (a === b && (choice === 'a' || choice === 'b'))
    throw new AttuneError(`${sides[0]} and ${sides[1]} are the same; a preference needs two different answers`);
  const said = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join('');
  if (said.trim() === '') throw new AttuneError('the prompt is empty; give what the answers reply to');

  const idKey = ID_KEYS.find((key) => isName(row[key]));
  const raterKey = rater === undefined ? RATER_KEYS.find((key) => isName(row[key])) : undefined;
  const { metadata, ...rest } = Object.fromEntries(
    Object.entries(row).filter(([key]) => !uses.test(key) && key !== idKey && key !== raterKey),
  );
  const isRecord = metadata !== null && typeof metadata === 'object' && !Array.isArray(metadata);
  return {
    prompt,
    a,
    b,
    choice,
    rater: rater ?? (raterKey === undefined ? null : String(row[raterKey])),
    externalId: idKey === undefined ? null : String(row[idKey]),
    metadata: { ...rest, ...judgement.metadata, ...(isRecord ? metadata : metadata == null ? {} : { metadata }) },
  };
}

const isName = (value: unknown) => typeof value === 'number' || (typeof value === 'string' && value !== '');
