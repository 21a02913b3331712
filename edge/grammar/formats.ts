// The formats of JSON Schema that OpenAI's structured outputs have, as patterns. Each matches a part of what its RFC allows
// that every validator accepts: no leap seconds, names in ASCII, durations of one to three parts.

const DAY =
  '(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))' +
  '|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)';
const TIME = '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?';
const ZONE = '(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)';
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const WORD = '[0-9a-fA-F]{1,4}';
const ATOM = '[a-zA-Z0-9_+-]{1,32}';

/** IPv6 with `::` in place of the words between `before` and the rest. */
const compressed = (before: number) =>
  before === 0
    ? `::(?:${WORD}(?::${WORD}){0,6})?`
    : `${WORD}(?::${WORD}){${before - 1}}::(?:${WORD}(?::${WORD}){0,${6 - before}})?`;

export const FORMATS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    date: `^${DAY}$`,
    time: `^${TIME}${ZONE}$`,
    'date-time': `^${DAY}T${TIME}${ZONE}$`,
    duration:
      '^P(?:\\d{1,4}W|\\d{1,4}D(?:T\\d{1,4}[HMS])?|\\d{1,4}[YM](?:T\\d{1,4}[HMS])?|T\\d{1,4}(?:H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|M(?:\\d{1,4}S)?|S))$',
    email: `^${ATOM}(?:\\.${ATOM}){0,1}@(?:${LABEL}\\.){1,3}[a-zA-Z]{2,24}$`,
    hostname: `^${LABEL}(?:\\.${LABEL}){0,3}$`,
    ipv4: `^${BYTE}(?:\\.${BYTE}){3}$`,
    ipv6: `^(?:${WORD}(?::${WORD}){7}|${[0, 1, 2, 3, 4, 5].map(compressed).join('|')}|${WORD}(?::${WORD}){5}::${WORD}|${WORD}(?::${WORD}){6}::)$`,
    uuid: '^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
  }),
);
