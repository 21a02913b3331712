// Streams the choices of one or more completions as server-sent events, in OpenAI's order: the opening of each choice,
// its tokens, its finish_reason, the usage on request, [DONE].

import type { TokenEvent } from '../engine/inference.ts';
import { streamEvents } from '../http/sse.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { decodeAndStore, startDecoding } from './decode.ts';
import type { PlacedRequest, PreparedCompletion } from './prepare.ts';
import type { GenerationRow } from './store.ts';
import { sumUsage } from './usage.ts';

/** How an operation writes its chunks; each function returns one entry of `choices`, without the index. */
export type ChunkFormat = {
  object: string;
  includeUsage: boolean;
  /** also sends a chunk for a token without visible text, which has a log-probability */
  hasLogprobs: boolean;
  formatOpening?(generationId: string): object;
  /** `textOffset`: code points of this choice that were sent before */
  formatToken(event: TokenEvent, completion: PreparedCompletion, textOffset: number): object;
  /** `rest`: text that was held back because it could have been the start of a stop string */
  formatEnd(row: GenerationRow, rest: string): object;
};

export async function streamChoices(
  ports: Ports,
  requests: PlacedRequest[],
  caller: Caller,
  format: ChunkFormat,
): Promise<Response> {
  const abort = new AbortController();
  const signal = AbortSignal.any([caller.signal, abort.signal]);
  const decoding = await startDecoding(ports, requests, { ...caller, signal });
  const { completions } = decoding;
  const envelope = toEnvelope(completions[0]!, format.object);
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
      const results = await decodeAndStore(ports, decoding, (event, at) => {
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

/** The fields that the response and every chunk of a completion have in common. */
export function toEnvelope({ id, created, policy }: PreparedCompletion, object: string) {
  return { id, object, created, model: policy.id, system_fingerprint: policy.id };
}

export function countCodePoints(text: string): number {
  return [...text].length;
}
