// The engine without its worker thread, for tests: decoders, and schedulers that run step by step.
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

type ChoiceResult = {
  tokenIds: number[];
  logprobs: number[];
  /** The finish reason, or the error's message. */
  finish: string;
};
type RequestInput = Partial<Omit<EngineRequest, 'sampling'>> & {
  promptIds: number[];
  sampling?: Partial<SamplingParams>;
};

/** Opens a package's decoder. Default: without end-of-sequence tokens, so that generations run to maxTokens. */
export async function openDecoder(
  folder: string,
  overrides: Partial<Architecture> = {},
  threads = 1,
): Promise<Decoder> {
  const architecture = { ...(await readArchitecture(folder)), eos: [], ...overrides };
  return new Decoder(await openSession(join(folder, 'onnx', 'serve.onnx'), threads), Tensor, architecture);
}

export function makeScheduler(decoder: Decoder, options: Partial<SchedulerOptions> = {}): Scheduler {
  return new Scheduler(decoder, { maxRows: 16, kvMemoryBytes: 2 ** 30, ...options });
}

export function makePrompt(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919 + seed * 104729) % 330)));
}

export function makeRequest({ sampling, ...request }: RequestInput): EngineRequest {
  return {
    id: 1,
    n: 1,
    sharedLengths: [],
    tenant: '',
    arrivedAt: epochSeconds(),
    sampling: makeSampling(sampling),
    ...request,
  };
}

/** Runs steps until the scheduler is idle. */
export async function drain(scheduler: Scheduler): Promise<StepResult[]> {
  const steps: StepResult[] = [];
  while (!scheduler.isIdle) steps.push(await scheduler.step());
  return steps;
}

/** The result of each choice, by `id:index`. */
export function collectResults(steps: StepResult[]): Map<string, ChoiceResult> {
  const results = new Map<string, ChoiceResult>();
  for (const event of collectEvents(steps)) {
    if (event.type === 'start') continue;
    const key = `${event.id}:${event.index}`;
    const result = results.get(key) ?? { tokenIds: [], logprobs: [], finish: '' };
    results.set(key, result);
    if (event.type === 'token') {
      result.tokenIds.push(event.tokenId);
      result.logprobs.push(event.logprob);
    } else result.finish = event.type === 'finish' ? event.finishReason : event.message;
  }
  return results;
}

export function collectEvents(steps: StepResult[]): EngineEvent[] {
  return steps.flatMap(({ events }) => events);
}

/** Prompt tokens that were computed, and those found in the prefix cache. */
export function countPromptTokens(steps: StepResult[]): { prefilled: number; cached: number } {
  const sum = (field: 'prefilledTokens' | 'cachedTokens') =>
    steps.reduce((total, { stats }) => total + stats[field], 0);
  return { prefilled: sum('prefilledTokens'), cached: sum('cachedTokens') };
}

/** The results of a request in a batch of its own, with an empty prefix cache. */
export async function generateAlone(decoder: Decoder, request: RequestInput): Promise<Map<string, ChoiceResult>> {
  const scheduler = makeScheduler(decoder);
  scheduler.submit(makeRequest(request));
  return collectResults(await drain(scheduler));
}
