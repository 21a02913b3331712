// Takes drafts to their end: all into the queue or none, under one deadline; then their generations are stored, and only
// then is anybody told that it is done. Nothing here touches the decoder itself.

import { generations } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import type { FinishEvent, GenerationEvent, TokenEvent } from '../engine/inference.ts';
import { type Deadline, openDeadline } from '../http/deadline.ts';
import type { Transaction } from '../http/idempotency.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import type { PreparedCompletion } from './prepare.ts';

export type GenerationRow = typeof generations.$inferInsert;
export type Decoding = { drafts: PreparedCompletion[]; events: AsyncIterable<GenerationEvent>[]; deadline: Deadline };
export type CompletionResult = { draft: PreparedCompletion; rows: GenerationRow[]; tokens: TokenEvent[][] };

/** Told of each token, and which of the drafts it belongs to. */
export type TokenListener = (event: TokenEvent, draft: number) => void;

/** Throws where one draft finds no room in the queue: before a stream's first byte, so with its status. */
export function startDecoding({ settings }: Ports, drafts: PreparedCompletion[], { tenant, signal }: Caller): Decoding {
  const deadline = openDeadline(settings.REQUEST_TIMEOUT, signal);
  try {
    const events = drafts.map(({ policy, promptIds, sharedLength, sampling, ids }) =>
      policy.generate({ promptIds, sampling, n: ids.length, tenant, sharedLength }, deadline.signal),
    );
    return { drafts, events, deadline };
  } catch (error) {
    deadline.close();
    throw error;
  }
}

/** Follows every choice to its end and stores what came; throws where the client or the time ended it. */
export async function decodeAndStore(
  ports: Ports,
  decoding: Decoding,
  listen?: TokenListener,
): Promise<CompletionResult[]> {
  const { runs, interruption } = await decode(decoding, listen);
  // What was asked to be stored of an interrupted request is kept where there is anything.
  const rows = runs
    .filter(({ draft }) => draft.request.store)
    .flatMap((run) => run.rows)
    .filter((row) => row.finish_reason !== 'cancelled' || row.token_ids.length > 0);
  await storeGenerations(ports.db, rows);
  if (interruption) throw interruption;
  return runs;
}

/** Follows every choice to its end, and says what interrupted them, if anything did. */
export async function decode(
  { drafts, events, deadline }: Decoding,
  listen: TokenListener = () => {},
): Promise<{ runs: CompletionResult[]; interruption: AttuneError | null }> {
  try {
    const runs = await Promise.all(drafts.map((draft, at) => follow(draft, events[at]!, (event) => listen(event, at))));
    return { runs, interruption: explainInterruption(runs, deadline) };
  } finally {
    // Where one draft failed the others are not decoded for nobody.
    deadline.close();
  }
}

/** Commits the generations. The caller answers only after this. */
export async function storeGenerations(db: Ports['db'] | Transaction, rows: GenerationRow[]): Promise<void> {
  if (rows.length > 0) await db.insert(generations).values(rows);
}

/**
 * One draft to its end; a cancelled one gives what was produced until then. Postgres cannot hold NUL in a text, so what
 * is shown and what is stored both have U+FFFD in its place; the token ids tell.
 */
async function follow(
  draft: PreparedCompletion,
  events: AsyncIterable<GenerationEvent>,
  onToken: (event: TokenEvent) => void,
): Promise<CompletionResult> {
  const finished = new Map<number, FinishEvent>();
  const tokens: TokenEvent[][] = draft.ids.map(() => []);
  for await (const event of events) {
    const visible = { ...event, text: event.text.replaceAll('\0', '\uFFFD') };
    if (visible.type === 'finish') finished.set(visible.index, visible);
    else {
      tokens[visible.index]!.push(visible);
      onToken(visible);
    }
  }
  const rows = draft.ids.map((id, choice) => {
    const finish = finished.get(choice);
    if (!finish) throw new Error(`internal: choice ${choice} of ${draft.id} never finished`);
    return toRow(draft, id, choice, finish);
  });
  return { draft, rows, tokens };
}

function toRow(draft: PreparedCompletion, id: string, choice: number, finish: FinishEvent): GenerationRow {
  const { request, policy, promptIds, sampling } = draft;
  return {
    id,
    completion_id: draft.id,
    choice,
    kind: request.kind,
    policy_id: policy.id,
    prompt: request.promptIds ? policy.tokenizer.decode(promptIds).replaceAll('\0', '\uFFFD') : request.prompt,
    prompt_token_ids: promptIds,
    text: finish.text,
    token_ids: finish.tokenIds,
    logps: finish.logprobs,
    stop_token: finish.stopToken,
    sampling: { ...sampling },
    seed: sampling.seed,
    finish_reason: finish.finishReason,
    user: request.user,
    metadata: request.metadata,
    created_at: new Date(draft.created * 1000),
  };
}

function explainInterruption(runs: CompletionResult[], deadline: Deadline): AttuneError | null {
  const rows = runs.flatMap((run) => run.rows);
  if (rows.every((row) => row.finish_reason !== 'cancelled')) return null;
  if (!deadline.hasPassed())
    return new AttuneError('the request was cancelled', { status: 499, code: 'cancelled', retry: false });
  if (rows.every((row) => row.token_ids.length === 0))
    return new AttuneError('generation: its time was up before its turn came; try again when there is less to do', {
      status: 503,
      code: 'queue_timeout',
    });
  // Sent again it would take as long again.
  return new AttuneError(
    'generation: its time was up before its end; ask for fewer tokens, or raise REQUEST_TIMEOUT of the server',
    { status: 504, code: 'deadline_exceeded', retry: false },
  );
}
