// Policy packages for tests: a tiny random model or stories15M, each a checkpoint with its graphs.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerationEvent } from '../edge/engine/inference.ts';
import { NEUTRAL_SAMPLING, type SamplingParams } from '../shared/decoder/sampling.ts';
import { readCheckpoint } from '../shared/model/checkpoint.ts';
import { writePolicyGraphs } from '../shared/onnx/write-graphs.ts';
import type { PrecisionName } from '../shared/precision-name.ts';
import { writeDefaultCheckpoint } from '../shared/publish/convert-llama2c.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

/** Creates a temporary folder; remove it with `after(folder.remove)`. */
export async function makeTempFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'attune-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

type PackageOptions = TinyCheckpointOptions & { precision?: PrecisionName };

export async function writeTinyPackage(folder: string, { precision, ...options }: PackageOptions = {}): Promise<void> {
  const { architecture, weights } = await writeTinyCheckpoint(folder, options);
  await writePolicyGraphs(folder, architecture, weights, precision);
}

export async function writeStoriesPackage(folder: string, precision?: PrecisionName): Promise<void> {
  await writeDefaultCheckpoint(folder);
  const { architecture, weights } = await readCheckpoint(folder);
  await writePolicyGraphs(folder, architecture, weights, precision);
}

/** Default: greedy, without filters and penalties. */
export function makeSampling(overrides: Partial<SamplingParams> = {}): SamplingParams {
  return {
    maxTokens: 16,
    ...NEUTRAL_SAMPLING,
    temperature: 0,
    seed: 1,
    stop: [],
    topLogprobs: 0,
    ...overrides,
  };
}

type EventOf<T extends GenerationEvent['type']> = Extract<GenerationEvent, { type: T }>;

/** Reads a generation to its end; returns each choice's token events and its finish event. */
export async function collectChoices(events: AsyncIterable<GenerationEvent>) {
  const choices: { tokens: EventOf<'token'>[]; finish: EventOf<'finish'> }[] = [];
  const tokens = new Map<number, EventOf<'token'>[]>();
  for await (const event of events) {
    const choiceTokens = tokens.get(event.index) ?? [];
    tokens.set(event.index, choiceTokens);
    if (event.type === 'token') choiceTokens.push(event);
    else choices[event.index] = { tokens: choiceTokens, finish: event };
  }
  return choices;
}
