// Streams the choices of one or more completions as server-sent events, in OpenAI's order: the opening of each choice,
// its tokens, its finish_reason, the usage on request, [DONE].

import type { TokenEvent } from '../engine/inference.ts';
import { streamEvents } from '../http/sse.ts';
import type { Caller } from '../middleware/auth.ts';
import { decodeAndStore, type Storage, startDecoding } from './decode.ts';
import type { PlacedRequest, PreparedCompletion } from './prepare.ts';
import type { CompletionResult } from './select-choices.ts';
import type { GenerationRow } from './store.ts';
import { sumUsage, type Usage } from './usage.ts';

/** The response of an operation that can stream. */
type Completion<Choice> = {
  id: string;
  created: number;
  model: string;
  system_fingerprint: string;
  choices: (Choice & { index: number; generation_id: string })[];
  usage?: Usage | undefined;
  comparison?: string | undefined;
};

/** How an operation writes its chunks; each function returns one entry of `choices`, without the index. */
export type ChunkFormat<Choice> = {
  object: string;
  includeUsage: boolean;
  /** also sends a chunk for a token without visible text, which has a log-probability */
  hasLogprobs: boolean;
  /** whose sides the choices are */
  comparison?: string | undefined;
  formatOpening?(generationId: string): object;
  /** `textOffset`: code points of this choice that were sent before */
  formatToken(event: TokenEvent, completion: PreparedCompletion, textOffset: number): object;
  /** `rest`: text that was held back because it could have been the start of a stop string */
  formatEnd(row: Pick<GenerationRow, 'id' | 'finish_reason'>, rest: string): object;
  /** everything between opening and end of a choice whose stream is repeated */
  formatWhole(choice: Choice): object;
};

/** `toResponse` is what a request without `stream` would get: it is stored, so that the stream can be repeated. */
export async function streamChoices<Choice>(
  storage: Storage,
  requests: PlacedRequest[],
  caller: Caller,
  format: ChunkFormat<Choice>,
  toResponse: (results: CompletionResult[]) => Completion<Choice>,
): Promise<Response> {
  const abort = new AbortController();
  const signal = AbortSignal.any([caller.signal, abort.signal]);
  const decoding = await startDecoding(storage.ports, requests, { ...caller, signal });
  const { completions } = decoding;
  const envelope = { ...toEnvelope(completions[0]!, format.object), ...toComparisonField(format.comparison) };
  const usage = format.includeUsage ? { usage: null } : {};
  const choices = completions.flatMap(({ ids }) => ids.map((id) => ({ id, sentLength: 0, sentCodePoints: 0 })));
  const choicesPerCompletion = completions[0]!.ids.length;

  return streamEvents(
    abort,
    async (send) => {
      const sendChoice = (index: number, choice: object) =>
        send({ ...envelope, choices: [{ index, ...choice }], ...usage });
      if (format.formatOpening)
        for (const [index, { id }] of choices.entries()) sendChoice(index, format.formatOpening(id));
      // Committed before the last byte: a client that has read the whole stream can vote on its generation ids.
      const { results } = await decodeAndStore(storage, decoding, toResponse, (event, at) => {
        if (event.type === 'finish') return;
        const index = at * choicesPerCompletion + event.index;
        const choice = choices[index]!;
        if (event.text || format.hasLogprobs)
          sendChoice(index, format.formatToken(event, completions[at]!, choice.sentCodePoints));
        choice.sentLength += event.text.length;
        choice.sentCodePoints += countCodePoints(event.text);
      });
      for (const [index, row] of results.flatMap(({ rows }) => rows).entries())
        sendChoice(index, format.formatEnd(row, row.text.slice(choices[index]!.sentLength)));
      if (format.includeUsage) send({ ...envelope, choices: [], usage: sumUsage(results) });
      send('[DONE]');
    },
    caller.record,
  );
}

/** The stream of a stored response: the same ids and text, each choice in one chunk. */
export function repeatStream<Choice extends { finish_reason: string }>(
  { choices, usage, comparison, ...response }: Completion<Choice>,
  format: ChunkFormat<Choice>,
): Response {
  const { id, created, model, system_fingerprint } = response;
  const common = { id, object: format.object, created, model, system_fingerprint };
  const envelope = { ...common, ...toComparisonField(comparison) };
  return streamEvents(new AbortController(), async (send) => {
    const sendChoice = (index: number, choice: object) =>
      send({ ...envelope, choices: [{ index, ...choice }], ...(format.includeUsage ? { usage: null } : {}) });
    if (format.formatOpening)
      for (const { index, generation_id } of choices) sendChoice(index, format.formatOpening(generation_id));
    for (const choice of choices) sendChoice(choice.index, format.formatWhole(choice));
    for (const { index, generation_id, finish_reason } of choices)
      sendChoice(index, format.formatEnd({ id: generation_id, finish_reason }, ''));
    if (format.includeUsage) send({ ...envelope, choices: [], usage });
    send('[DONE]');
  });
}

/** The fields that the response and every chunk of a completion have in common. */
export function toEnvelope<const O extends string>({ id, created, policy }: PreparedCompletion, object: O) {
  return { id, object, created, model: policy.id, system_fingerprint: policy.id };
}

/** On every chunk, so that a page knows from the first one on that both choices are to be shown. */
const toComparisonField = (comparison: string | undefined) => (comparison === undefined ? {} : { comparison });

export function countCodePoints(text: string): number {
  return [...text].length;
}
