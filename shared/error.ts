// The one error that people see. The API turns it into OpenAI's shape, the command line into one line.
// Anything else that is thrown is our own bug and reaches nobody in detail; its message starts with `internal:`.

export type ErrorDetails = {
  /** HTTP status; 400 unless told. */
  status?: number;
  /** The field that is wrong, as a path in the request: `messages.0.content`. */
  param?: string | null;
  /** A machine-readable reason: `unknown_policy`. */
  code?: string | null;
  /** Whether the same request can succeed later. OpenAI's clients retry 408, 409, 429 and 5xx unless told not to. */
  retry?: boolean;
};

/** Bad input or a missing thing, said so that its reader can mend it. */
export class AttuneError extends Error {
  override name = 'AttuneError';
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly retry: boolean;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message);
    this.status = details.status ?? 400;
    this.param = details.param ?? null;
    this.code = details.code ?? null;
    this.retry = details.retry ?? this.status >= 500;
  }
}
