// The one error type whose message reaches users: the API returns it in OpenAI's shape, the command line prints one line.
// Any other error is a bug: its message starts with `internal:` and its details are only logged.

export type ErrorDetails = {
  /** HTTP status; default: 400. */
  status?: number;
  /** Path of the invalid field in the request: `messages.0.content`. */
  param?: string | null;
  /** Machine-readable reason: `model_not_found`. */
  code?: string | null;
  /** Whether the same request can succeed later; default: true for 5xx. OpenAI's clients retry 408, 409, 429 and 5xx. */
  retry?: boolean;
  /** If it can: how soon; default: a second. */
  retryAfterMs?: number;
};

/** The message of anything that was thrown. */
export function getErrorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An error about a field of the request, as one about the field `param`; any other error as it is. */
export function renameParam(error: unknown, param: string): unknown {
  if (!(error instanceof AttuneError) || error.param === null) return error;
  return new AttuneError(error.message, { ...error, param });
}

/** Invalid input or a missing resource. The message states the problem and how to fix it. */
export class AttuneError extends Error {
  override name = 'AttuneError';
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly retry: boolean;
  readonly retryAfterMs: number;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message);
    this.status = details.status ?? 400;
    this.param = details.param ?? null;
    this.code = details.code ?? null;
    this.retry = details.retry ?? this.status >= 500;
    this.retryAfterMs = details.retryAfterMs ?? 1000;
  }
}
