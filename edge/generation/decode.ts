// Prepares and decodes completions under one deadline and stores their generations; either all are queued or none. A
// request is complete only after its generations are committed. The decoder itself is behind LoadedPolicy.generate.

import { assertRowsLeft, countRows, type RowQuota } from '../../shared/access/row-quota.ts';
import type { AttuneError } from '../../shared/error.ts';
import type { FinishEvent, GenerationEvent, LoadedPolicy, TokenEvent } from '../engine/inference.ts';
import { type Deadline, openDeadline } from '../http/deadline.ts';
import type { Transaction } from '../http/idempotency.ts';
import type { Commit } from '../http/operation.ts';
import type { AttemptRecord, RequestRecord } from '../http/request-record.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { describeInterruption } from './interruption.ts';
import { type CompletionRequest, type PlacedRequest, type PreparedCompletion, prepareCompletion } from './prepare.ts';
import { toGenerationRecord } from './record-generation.ts';
import { redactResults } from './redact-results.ts';
import { type Candidate, type CompletionResult, countTokens, rankCandidates, selectChoices } from './select-choices.ts';
import { type GenerationRow, storeCompletions, toStorable } from './store.ts';
import { sumUsage } from './usage.ts';

export type Decoding = {
  completions: PreparedCompletion[];
  events: AsyncIterable<GenerationEvent>[];
  deadline: Deadline;
  turn: string;
  record: RequestRecord;
  /** one per completion */
  attempts: AttemptRecord[];
  /** Unix milliseconds */
  startedAt: number;
  rowQuota: RowQuota | null;
  /** Gives back the caller's places, and the reserved tokens that were not used. */
  settle(usedTokens: number): Promise<void>;
};
/** `alsoStore`: stores what belongs to the generations in their transaction, and returns its number of rows. */
export type Storage = {
  ports: Ports;
  commit: Commit;
  alsoStore?: (transaction: Transaction, stored: CompletionResult[]) => Promise<number>;
};

/** Receives each token and each end of a choice, and the index of the completion. */
export type GenerationListener = (event: GenerationEvent, completionIndex: number) => void;

/**
 * Throws if a request is invalid or the queue is full, which is before the first byte of a stream, so that the response
 * still has a status.
 */
export async function startDecoding(
  { db, settings, rateLimits, concurrencyLimits }: Ports,
  requests: PlacedRequest[],
  { id, turn, maxConcurrent, rowQuota, signal, record }: Caller,
): Promise<Decoding> {
  await assertRowsLeft(db, rowQuota, countStoredRows(requests.map(({ request }) => request)));
  const attempts = requests.map(({ policy }) => ({ policyId: policy.id, hasFailed: false }));
  record.attempts.push(...attempts);
  const leave = concurrencyLimits?.generations.begin(id, countGenerations(requests), maxConcurrent);
  const deadline = openDeadline(settings.REQUEST_TIMEOUT, signal);
  let settleTokens = async (_used: number) => {};
  const settle = async (used: number) => {
    leave?.();
    await settleTokens(used);
  };
  const waiter = { tenant: turn, signal: deadline.signal };
  try {
    const completions: PreparedCompletion[] = [];
    // One after the other, so that a request with many prompts takes one turn of its caller at a time.
    for (const request of requests) completions.push(await prepareCompletion(request, waiter));
    if (rateLimits) settleTokens = await rateLimits.reserveTokens(id, countMaxTokens(completions));
    const submitted = new Map<LoadedPolicy, number>();
    const events = completions.map(({ policy, promptIds, sharedLengths, sampling, candidates: n, grammar }) => {
      const added = submitted.get(policy) ?? 0;
      const input = { promptIds, sampling, n, tenant: turn, sharedLengths, grammar, submitted: added };
      submitted.set(policy, input.submitted + input.n);
      return policy.generate(input, deadline.signal);
    });
    return { completions, events, deadline, turn, record, attempts, startedAt: Date.now(), rowQuota, settle };
  } catch (error) {
    await settle(0);
    const interruption = deadline.signal.aborted ? describeInterruption(deadline, false) : null;
    deadline.close();
    throw interruption ?? error;
  }
}

/** A comparison is one row, however many completions it has. What else is stored with them is counted when it is. */
function countStoredRows(requests: CompletionRequest[]): number {
  const stored = requests.filter(({ store }) => store);
  return stored[0]?.kind === 'comparison' ? 1 : stored.length;
}

function countGenerations(requests: PlacedRequest[]): number {
  return requests.reduce((sum, { request: { n, bestOf = n } }) => sum + bestOf, 0);
}

/** The most that the completions can use: a prompt counts once, with any number of choices. */
function countMaxTokens(completions: PreparedCompletion[]): number {
  return completions.reduce(
    (sum, { promptIds, candidates, sampling }) => sum + promptIds.length + candidates * sampling.maxTokens,
    0,
  );
}

/**
 * Decodes every choice to its end and commits the generations with the response, both redacted. Throws if the client or the
 * deadline interrupted them. With `store: false` nothing is committed, the response neither.
 */
export async function decodeAndStore<T>(
  { ports, commit, alsoStore = async () => 0 }: Storage,
  decoding: Decoding,
  toResponse: (results: CompletionResult[]) => T,
  onEvent?: GenerationListener,
): Promise<{ results: CompletionResult[]; response: T }> {
  const { results, interruption } = await decode(decoding, onEvent);
  const kept = results
    .filter(({ completion }) => completion.request.store)
    // An interrupted choice is stored too, if it has any tokens.
    .map((result) => ({ ...result, rows: result.rows.filter(hasTokens) }));
  const stored = await redactResults(ports.redact, kept);
  const rows = stored.filter((result) => result.rows.length > 0).length;
  if (interruption) {
    if (stored.length > 0)
      await ports.db.transaction(async (transaction) => {
        await storeCompletions(transaction, stored);
        await countRows(transaction, decoding.rowQuota, rows);
      });
    throw interruption;
  }
  const response = toResponse(results);
  if (stored.length > 0)
    await commit(async (transaction) => {
      await storeCompletions(transaction, stored);
      await countRows(transaction, decoding.rowQuota, rows + (await alsoStore(transaction, stored)));
      return toResponse(stored);
    });
  return { results, response };
}

function hasTokens({ finish_reason, token_ids }: GenerationRow): boolean {
  return finish_reason !== 'cancelled' || token_ids.length > 0;
}

/** Decodes every candidate to its end, selects the choices, and returns what interrupted them, if anything did. */
export async function decode(
  { completions, events, deadline, turn, record, attempts, startedAt, settle }: Decoding,
  onEvent: GenerationListener = () => {},
): Promise<{ results: CompletionResult[]; interruption: AttuneError | null }> {
  let used = 0;
  const firstTokens: (number | null)[] = completions.map(() => null);
  try {
    const sampled = await Promise.all(
      completions.map(async ({ candidates }, at) => {
        const collected = await collectCandidates(candidates, events[at]!, (event) => {
          if (event.type === 'token') firstTokens[at] ??= Date.now();
          onEvent(event, at);
        }).catch((error: unknown) => {
          attempts[at]!.hasFailed = true;
          throw error;
        });
        attempts[at]!.hasFailed = collected.some(isCancelled);
        return collected;
      }),
    );
    used = sumUsage(
      sampled.map((candidates, at) => ({ completion: completions[at]!, sampledTokens: countTokens(candidates) })),
    ).total_tokens;
    const waiter = { tenant: turn, signal: deadline.signal, isAdmitted: true };
    const rankings = completions.some(({ ranker }) => ranker)
      ? await Promise.all(completions.map((completion, at) => rankCandidates(completion, sampled[at]!, waiter)))
      : [];
    const results = completions.map((completion, at) => selectChoices(completion, sampled[at]!, rankings[at] ?? null));
    record.generations.push(
      ...results.map((result, at) => toGenerationRecord(result, { startedAt, firstTokenAt: firstTokens[at]! })),
    );
    return { results, interruption: findInterruption(sampled.flat(), deadline) };
  } catch (error) {
    throw deadline.signal.aborted ? describeInterruption(deadline, true) : error;
  } finally {
    // If one completion failed, this cancels the others.
    deadline.close();
    await settle(used);
  }
}

/**
 * Collects the events of all candidates; a cancelled one keeps its tokens so far. Both the response and the stored text
 * have U+FFFD in place of NUL; the token ids are unchanged.
 */
async function collectCandidates(
  count: number,
  events: AsyncIterable<GenerationEvent>,
  onEvent: (event: GenerationEvent) => void,
): Promise<Candidate[]> {
  const finished = new Map<number, FinishEvent>();
  const tokens: TokenEvent[][] = Array.from({ length: count }, () => []);
  for await (const event of events) {
    const storable = { ...event, text: toStorable(event.text) };
    if (storable.type === 'finish') finished.set(storable.index, storable);
    else tokens[storable.index]!.push(storable);
    onEvent(storable);
  }
  return tokens.map((ownTokens, index) => {
    const finish = finished.get(index);
    if (!finish) throw new Error(`internal: choice ${index} of ${count} never finished`);
    return { finish, tokens: ownTokens };
  });
}

function isCancelled({ finish }: Candidate): boolean {
  return finish.finishReason === 'cancelled';
}

function findInterruption(candidates: Candidate[], deadline: Deadline): AttuneError | null {
  if (!candidates.some(isCancelled)) return null;
  return describeInterruption(
    deadline,
    candidates.some(({ tokens }) => tokens.length > 0),
  );
}
