// What is stored of decoded completions under REDACT. The caller gets its own text; these copies, and the response stored for
// an Idempotency-Key, have placeholders. Token ids and log-probabilities of a changed text spell it, so they are dropped.

import { type Redact, redactPrompt, redactValue } from '../../shared/redaction/redact.ts';
import type { PreparedCompletion } from './prepare.ts';
import type { CompletionResult } from './select-choices.ts';
import { type GenerationRow, getPrompt } from './store.ts';

/** A result in which nothing was redacted is returned itself. */
export async function redactResults(redact: Redact | null, results: CompletionResult[]): Promise<CompletionResult[]> {
  if (!redact) return results;
  return Promise.all(results.map((result) => redactResult(redact, result)));
}

async function redactResult(redact: Redact, result: CompletionResult): Promise<CompletionResult> {
  const completion = await redactCompletion(redact, result.completion);
  const rows = await Promise.all(result.rows.map((row) => redactRow(redact, row)));
  const isChanged = rows.map((row, at) => row !== result.rows[at]);
  if (completion === result.completion && !isChanged.includes(true)) return result;
  return {
    ...result,
    completion: { redacted: { prompt: false }, ...completion },
    rows,
    tokens: result.tokens.map((tokens, at) => (isChanged[at] ? [] : tokens)),
  };
}

async function redactCompletion(redact: Redact, completion: PreparedCompletion): Promise<PreparedCompletion> {
  const { request, sampling } = completion;
  const given = { metadata: request.metadata, responseFormat: request.responseFormat, stop: sampling.stop };
  const givenPrompt = getPrompt(completion);
  const stored = await redactValue(redact, given);
  const prompt = await redactPrompt(redact, givenPrompt);
  if (prompt === givenPrompt && stored === given) return completion;
  const { stop, ...fields } = stored;
  return {
    ...completion,
    request: { ...request, ...fields, prompt, promptIds: undefined },
    sampling: { ...sampling, stop },
    redacted: { prompt: prompt !== givenPrompt },
  };
}

async function redactRow(redact: Redact, row: GenerationRow): Promise<GenerationRow> {
  const text = await redactValue(redact, row.text);
  return text === row.text ? row : { ...row, text, token_ids: [], logps: [], stop_token: null };
}
