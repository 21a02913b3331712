// Policy packages for tests: a random tiny Llama, or stories15M, with the graphs beside the checkpoint.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerationEvent } from '../edge/engine/inference.ts';
import { NEUTRAL_SAMPLING, type SamplingParams } from '../shared/decoder/sampling.ts';
import { readCheckpoint } from '../shared/model/checkpoint.ts';
import { writePolicyGraphs } from '../shared/onnx/write-graphs.ts';
import type { PrecisionName } from '../shared/precision-name.ts';
import { writeDefaultCheckpoint } from '../shared/publish/convert-llama2c.ts';
import { type TinyOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

/** A folder that is gone when the test file ends: `after(folder.remove)`. */
export async function makeTempFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'attune-generation-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

type PackageOptions = TinyOptions & { precision?: PrecisionName };

export async function writeTinyPackage(folder: string, { precision, ...options }: PackageOptions = {}): Promise<void> {
  const { architecture, weights } = await writeTinyCheckpoint(folder, options);
  await writePolicyGraphs(folder, architecture, weights, precision);
}

export async function writeStoriesPackage(folder: string, precision?: PrecisionName): Promise<void> {
  await writeDefaultCheckpoint(folder);
  const { architecture, weights } = await readCheckpoint(folder);
  await writePolicyGraphs(folder, architecture, weights, precision);
}

/** Greedy and otherwise off, unless told. */
export function makeSampling(given: Partial<SamplingParams> = {}): SamplingParams {
  return {
    maxTokens: 16,
    ...NEUTRAL_SAMPLING,
    temperature: 0,
    seed: 1,
    stop: [],
    topLogprobs: 0,
    ...given,
  };
}

type Of<T extends GenerationEvent['type']> = Extract<GenerationEvent, { type: T }>;

/** Reads a generation to its end: tokens and finishes per choice, in the order of the choices. */
export async function collectChoices(events: AsyncIterable<GenerationEvent>) {
  const choices: { tokens: Of<'token'>[]; finish: Of<'finish'> }[] = [];
  const tokens = new Map<number, Of<'token'>[]>();
  for await (const event of events) {
    const own = tokens.get(event.index) ?? [];
    tokens.set(event.index, own);
    if (event.type === 'token') own.push(event);
    else choices[event.index] = { tokens: own, finish: event };
  }
  return choices;
}
