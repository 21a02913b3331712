// Where a Node process that serves or trains writes its log: as text on a terminal, otherwise as JSON lines by pino.

import { styleText } from 'node:util';
import { type DestinationStream, destination, pino, stdTimeFunctions } from 'pino';
import { type Paint, setLogOutput, writeText } from './log.ts';
import type { Settings } from './settings.ts';

/** Lines beyond this are dropped while nobody reads the output: a stalled reader must not stop the server. */
const MAX_BUFFERED_BYTES = 8 * 2 ** 20;

type LogSettings = Pick<Settings, 'LOG_FORMAT' | 'LOG_LEVEL'>;

/** Returns the format in use. */
export function openLog({ LOG_FORMAT, LOG_LEVEL }: LogSettings): NonNullable<LogSettings['LOG_FORMAT']> {
  const format = LOG_FORMAT ?? (process.stdout.isTTY ? 'text' : 'json');
  setLogOutput(format === 'text' ? (event) => writeText(event, paint) : createJsonWriter(openStdout()), LOG_LEVEL);
  return format;
}

/** No colors where the terminal has none or NO_COLOR is set. */
const paint: Paint = (style, text) => styleText(style, text, { stream: process.stdout });

function createJsonWriter(stream: DestinationStream): Parameters<typeof setLogOutput>[0] {
  const logger = pino(
    { base: null, timestamp: stdTimeFunctions.isoTime, formatters: { level: (level) => ({ level }) } },
    stream,
  );
  return ({ level, area, message, fields, err }) => logger[level]({ area, ...fields, err }, message);
}

/** A write for each line would cost more than the line itself. */
const MIN_WRITE_BYTES = 8 * 2 ** 10;
const FLUSH_INTERVAL_MS = 100;

/** Written without blocking, and flushed when the process exits. */
function openStdout(): DestinationStream {
  return destination({
    fd: 1,
    sync: false,
    minLength: MIN_WRITE_BYTES,
    periodicFlush: FLUSH_INTERVAL_MS,
    maxLength: MAX_BUFFERED_BYTES,
  });
}
