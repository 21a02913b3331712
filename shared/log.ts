// The log: one line an event, with the part that reports it. A program chooses where lines go and from which level
// (setLogOutput); until then warnings and errors are printed as text. No line may hold what users wrote: no prompt, no
// response, no message that could quote either.

import { describeError, type ErrorDescription } from './error-description.ts';

export const LOG_LEVELS = ['info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Record<string, string | number | undefined>;
export type LogEvent = {
  level: Exclude<LogLevel, 'silent'>;
  /** `http`, `policy`, `trainer`, `webhooks`, …; `attune` for the process itself */
  area: string;
  message: string;
  fields: LogFields;
  err?: ErrorDescription;
};

let output: { write(event: LogEvent): void; level: LogLevel } = { write: (event) => writeText(event), level: 'warn' };

export function setLogOutput(write: (event: LogEvent) => void, level: LogLevel): void {
  output = { write, level };
}

export const log = {
  info: (area: string, message: string, fields: LogFields = {}) => emit({ level: 'info', area, message, fields }),
  warn: (area: string, message: string, fields: LogFields = {}) => emit({ level: 'warn', area, message, fields }),
  /** `cause`: whatever was thrown; its details are logged without content (error-description.ts). */
  error: (area: string, message: string, cause?: unknown, fields: LogFields = {}) =>
    emit({ level: 'error', area, message, fields, ...(cause === undefined ? {} : { err: describeError(cause) }) }),
};

function emit(event: LogEvent): void {
  if (LOG_LEVELS.indexOf(event.level) >= LOG_LEVELS.indexOf(output.level)) output.write(event);
}

/** For a person: `policy: serving pol_…`. */
export function writeText(event: LogEvent, paint: Paint = (_style, text) => text): void {
  const text = formatText(event, paint);
  if (event.level === 'info') console.log(text);
  else console.error(text);
}

/** The line as JSON, on a platform whose console is its log. */
export function writeJson({ level, area, message, fields, err }: LogEvent): void {
  const line = JSON.stringify({ level, time: new Date().toISOString(), area, ...fields, err, msg: message });
  if (level === 'error') console.error(line);
  else console.log(line);
}

export type Paint = (style: 'dim' | 'red' | 'yellow', text: string) => string;

/** Fields of a request that its message has already. */
const IN_MESSAGE = new Set(['method', 'route', 'status']);

function formatText({ level, area, message, fields, err }: LogEvent, paint: Paint): string {
  const summary = `${area}: ${message}`;
  const details = Object.entries(fields)
    .filter(([name, value]) => value !== undefined && !IN_MESSAGE.has(name))
    .map(([name, value]) => `${name}=${value}`);
  const painted = level === 'info' ? summary : paint(level === 'warn' ? 'yellow' : 'red', summary);
  return [painted + (details.length > 0 ? paint('dim', ` ${details.join(' ')}`) : ''), ...formatCauses(err)].join('\n');
}

function formatCauses(err: ErrorDescription | undefined): string[] {
  if (!err) return [];
  const { type, code, message, stack, cause } = err;
  const summary = `  ${[type, code].filter(Boolean).join(' ')}${message ? `: ${message}` : ''}`;
  return [summary, ...(stack ? [stack] : []), ...formatCauses(cause)];
}
