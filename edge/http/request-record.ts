// What is known about a request once its response has ended, for its log line and its span: ids, counts, times and codes.
// It never holds content: no prompt, no response, no message of an error.

import type { Context } from 'hono';

declare module 'hono' {
  interface ContextVariableMap {
    record: RequestRecord;
  }
}

export type RequestRecord = {
  id: string;
  method: string;
  /** the pattern that matched; `none` for an unknown path */
  route: string;
  /** set if a route matched: other paths could hold anything */
  path: string | undefined;
  status: number;
  /** the id of the API key */
  key: string | undefined;
  /** Unix milliseconds */
  startedAt: number;
  /** until the response began, and until it ended, which is later for a stream */
  responseMs: number;
  ms: number;
  /** W3C Trace Context of the caller */
  traceparent: string | undefined;
  tracestate: string | undefined;
  /** `status`: also of a failure after the response had begun */
  failure: { code: string | null; status: number; thrown: unknown } | null;
  attempts: AttemptRecord[];
  generations: GenerationRecord[];
  vote: VoteRecord | null;
};

/** A completion that was begun. `hasFailed`: of several in a request, this is one that kept it from its end. */
export type AttemptRecord = { policyId: string; hasFailed: boolean };

/** One prompt with its choices. */
export type GenerationRecord = {
  operation: 'chat' | 'text_completion';
  /** as requested: a policy's id, or the alias of the active one */
  model: string;
  /** made for a comparison, and not for whoever asked */
  isCompared?: boolean;
  policyId: string;
  completionId: string;
  choiceIds: string[];
  sampling: { temperature: number; topP: number; maxTokens: number; seed: number };
  promptTokens: number;
  completionTokens: number;
  finishReasons: string[];
  /** of each choice; `repetition`: the share of its 4-grams of tokens that it has said before */
  responses: { tokens: number; repetition: number; isEmpty: boolean }[];
  /** Unix milliseconds; null: no token was sampled but one that ends the response */
  firstTokenAt: number | null;
  startedAt: number;
  endedAt: number;
};

export type VoteRecord = { choice: string; chosen: string | null; rejected: string | null };

export function openRecord(context: Context): RequestRecord {
  return {
    id: context.get('requestId'),
    method: context.req.method,
    route: 'none',
    path: undefined,
    status: 0,
    key: undefined,
    startedAt: Date.now(),
    responseMs: 0,
    ms: 0,
    traceparent: context.req.header('traceparent'),
    tracestate: context.req.header('tracestate'),
    failure: null,
    attempts: [],
    generations: [],
    vote: null,
  };
}
