// Parses one row of a preference file, in any format, into records. Checks what holds for every format: two different
// responses, a prompt, and nothing that Postgres rejects. Keys that the format does not define become metadata.

import { AttuneError } from '../error.ts';
import { assertStorable } from '../storable.ts';
import { FORMATS, type Format, type InputRow, type ParsedPreference } from './formats.ts';
import { describe } from './message-schemas.ts';
import type { PreferenceRecord } from './record.ts';

const ID_KEYS = ['id', 'question_id', 'idx'];
const RATER_KEYS = ['rater', 'judge'];
const MAX_LISTED_KEYS = 20;
/** Characters: an index takes no long names. `user:…` of an export, at most 205, can be imported again. */
const MAX_RATER_LENGTH = 256;

/** One record, or several if several raters judged the row. Throws AttuneError with the problem and its fix. */
export function parseRow(row: unknown): PreferenceRecord[] {
  if (row === null || typeof row !== 'object' || Array.isArray(row))
    throw new AttuneError(`is ${describe(row)}; each row must be an object`);
  const format = FORMATS.find((format) => format.matches(row as InputRow));
  if (!format) {
    const foundKeys = Object.keys(row).slice(0, MAX_LISTED_KEYS).join(', ') || 'none';
    const formats = FORMATS.map(({ name, keys }) => `${name} {${keys}}`).join(', ');
    throw new AttuneError(`unknown format with the keys ${foundKeys}; use one of ${formats}`);
  }
  try {
    assertStorable(row);
    return format.parse(row as InputRow).map((preference) => toRecord(format, row as InputRow, preference));
  } catch (error) {
    if (error instanceof AttuneError) throw new AttuneError(`${format.name}: ${error.message}`);
    throw error;
  }
}

function toRecord({ knownKeys, responseKeys }: Format, row: InputRow, preference: ParsedPreference): PreferenceRecord {
  const { prompt, a, b, choice, rater } = preference;
  for (const [index, response] of [a, b].entries())
    if (response.trim() === '')
      throw new AttuneError(`"${responseKeys[index]}" is empty; give the text of the response`);
  if (a === b && (choice === 'a' || choice === 'b'))
    throw new AttuneError(
      `"${responseKeys[0]}" and "${responseKeys[1]}" are equal; a preference needs two different responses`,
    );
  const promptText = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join('');
  if (promptText.trim() === '') throw new AttuneError('the prompt is empty; give what the responses reply to');

  const idKey = ID_KEYS.find((key) => isName(row[key]));
  const raterKey = rater === undefined ? RATER_KEYS.find((key) => isName(row[key])) : undefined;
  const name = rater ?? (raterKey === undefined ? null : String(row[raterKey]));
  if (name !== null && name.length > MAX_RATER_LENGTH)
    throw new AttuneError(
      `${raterKey === undefined ? 'the name of a rater' : `"${raterKey}"`} is ${name.length} characters long; give at most ${MAX_RATER_LENGTH}`,
    );
  const { metadata, ...rest } = Object.fromEntries(
    Object.entries(row).filter(([key]) => !knownKeys.test(key) && key !== idKey && key !== raterKey),
  );
  const isObject = metadata !== null && typeof metadata === 'object' && !Array.isArray(metadata);
  return {
    prompt,
    a,
    b,
    choice,
    rater: name,
    externalId: idKey === undefined ? null : String(row[idKey]),
    metadata: { ...rest, ...preference.metadata, ...(isObject ? metadata : metadata == null ? {} : { metadata }) },
  };
}

const isName = (value: unknown) => typeof value === 'number' || (typeof value === 'string' && value !== '');
