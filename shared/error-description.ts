// An error as it may be logged. Whoever reads a log must not learn what users wrote, and messages of the database, of JSON
// and of schemas quote their input; of those only the type, the code and the stack's frames remain.

import { AttuneError } from './error.ts';

export type ErrorDescription = {
  type: string;
  message?: string;
  /** SQLSTATE, or a system's code: `ECONNRESET` */
  code?: string;
  table?: string;
  constraint?: string;
  /** the frames, without the message */
  stack?: string;
  cause?: ErrorDescription;
};

const MAX_CAUSES = 4;
const QUOTING_TYPES = new Set(['SyntaxError', 'ZodError', '$ZodError', 'PostgresError']);

export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code, table_name, constraint_name, cause } = error as Error & Record<string, unknown>;
  const stack = error instanceof AttuneError ? undefined : readFrames(error);
  return {
    type: error.constructor.name,
    ...(quotesInput(error) ? {} : { message: error.message }),
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof table_name === 'string' ? { table: table_name } : {}),
    ...(typeof constraint_name === 'string' ? { constraint: constraint_name } : {}),
    ...(stack ? { stack } : {}),
    ...(cause instanceof Error && depth < MAX_CAUSES ? { cause: describeError(cause, depth + 1) } : {}),
  };
}

/** In one line, for a message: `DrizzleQueryError: PostgresError 23505`. */
export function summarizeError(error: unknown): string {
  if (error instanceof AttuneError) return error.message;
  const parts: string[] = [];
  for (let at: ErrorDescription | undefined = describeError(error); at; at = at.cause)
    parts.push(at.message ?? [at.type, at.code].filter(Boolean).join(' '));
  return parts.join(': ');
}

/** Whether the message may contain what a user sent: a failed statement has its SQL and its parameters. */
function quotesInput(error: Error): boolean {
  return (
    QUOTING_TYPES.has(error.name) ||
    QUOTING_TYPES.has(error.constructor.name) ||
    'query' in error ||
    'params' in error ||
    'severity' in error
  );
}

/** A stack begins with the message, which may have lines that look like frames. */
function readFrames({ message, stack }: Error): string | undefined {
  const at = stack?.indexOf(message) ?? -1;
  return at === -1 ? undefined : stack!.slice(at + message.length).replace(/^[^\n]*\n/, '') || undefined;
}
