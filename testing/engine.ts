// The engine without its thread, for tests: a decoder over a tiny package, and schedulers on it turn by turn.
import { join } from 'node:path';
import { Tensor } from 'onnxruntime-node';
import { type EngineEvent, type EngineRequest, epochSeconds } from '../edge/engine/request.ts';
import { Scheduler, type SchedulerOptions, type StepResult } from '../edge/engine/scheduler.ts';
import { Decoder } from '../shared/decoder/decoder.ts';
import type { SamplingParams } from '../shared/decoder/sampling.ts';
import { openSession } from '../shared/decoder/session.ts';
import type { Architecture } from '../shared/model/architecture.ts';
import { readArchitecture } from '../shared/model/checkpoint.ts';
import { makeSampling } from './policy-package.ts';

export type ChoiceResult = { tokenIds: number[]; logprobs: number[]; finish: string };
type RequestInput = Partial<Omit<EngineRequest, 'sampling'>> & {
  promptIds: number[];
  sampling?: Partial<SamplingParams>;
};

/** A policy that never stops by itself, unless told. */
export async function openDecoder(folder: string, changes: Partial<Architecture> = {}, threads = 1): Promise<Decoder> {
  const architecture = { ...(await readArchitecture(folder)), eos: [], ...changes };
  return new Decoder(await openSession(join(folder, 'onnx', 'serve.onnx'), threads), Tensor, architecture);
}

export function makeScheduler(decoder: Decoder, options: Partial<SchedulerOptions> = {}): Scheduler {
  return new Scheduler(decoder, { maxRows: 16, kvMemory: 2 ** 30, ...options });
}

export function makePrompt(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919 + seed * 104729) % 330)));
}

export function makeRequest({ sampling, ...job }: RequestInput): EngineRequest {
  return {
    id: 1,
    n: 1,
    sharedLength: 0,
    tenant: '',
    arrivedAt: epochSeconds(),
    sampling: makeSampling(sampling),
    ...job,
  };
}

/** Every turn until there is nothing left to do. */
export async function drain(scheduler: Scheduler): Promise<StepResult[]> {
  const turns: StepResult[] = [];
  while (!scheduler.isIdle) turns.push(await scheduler.step());
  return turns;
}

/** What each choice came to, by `id:index`. */
export function collectResults(turns: StepResult[]): Map<string, ChoiceResult> {
  const answers = new Map<string, ChoiceResult>();
  for (const event of eventsOf(turns)) {
    if (event.type === 'start') continue;
    const key = `${event.id}:${event.index}`;
    const answer = answers.get(key) ?? { tokenIds: [], logprobs: [], finish: '' };
    answers.set(key, answer);
    if (event.type === 'token') {
      answer.tokenIds.push(event.tokenId);
      answer.logprobs.push(event.logprob);
    } else answer.finish = event.type === 'finish' ? event.finishReason : event.message;
  }
  return answers;
}

export function eventsOf(turns: StepResult[]): EngineEvent[] {
  return turns.flatMap(({ events }) => events);
}

/** Tokens of prompts that were computed, and those that were known. */
export function countPromptTokens(turns: StepResult[]): { prefilled: number; cached: number } {
  const sum = (field: 'prefilledTokens' | 'cachedTokens') =>
    turns.reduce((total, { stats: report }) => total + report[field], 0);
  return { prefilled: sum('prefilledTokens'), cached: sum('cachedTokens') };
}

/** What a job comes to with nobody else there and nothing known. */
export async function generateAlone(decoder: Decoder, job: RequestInput): Promise<Map<string, ChoiceResult>> {
  const scheduler = makeScheduler(decoder);
  scheduler.submit(makeRequest(job));
  return collectResults(await drain(scheduler));
}
