// Inference over a folder of packages, and an instrumentation that records its calls, for tests.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishEvent, GenerationInput, Inference, LoadedPolicy } from '../edge/engine/inference.ts';
import type { Instrumentation, StepStats } from '../edge/engine/instrumentation.ts';
import { type InferenceOptions, openInference } from '../edge/engine/policy-pool.ts';
import type { SamplingParams } from '../shared/decoder/sampling.ts';
import { collectChoices, makeSampling } from './policy-package.ts';

/** Biases against the tiny model's end-of-sequence tokens, so that a generation runs to maxTokens. */
export const NO_EOS = { logitBias: { 1: -100, 2: -100 }, maxTokens: 100 };

export class RecordingInstrumentation implements Instrumentation {
  readonly steps: StepStats[] = [];
  readonly queueTimes: number[] = [];
  readonly firstTokens: number[] = [];
  readonly tokenGaps: number[] = [];
  readonly finishes: Parameters<Instrumentation['recordFinish']>[1][] = [];
  readonly swaps: string[] = [];
  readonly rejectedPolicies: string[] = [];

  recordStep(stats: StepStats): void {
    this.steps.push(stats);
  }
  recordQueueTime(_: string, seconds: number): void {
    this.queueTimes.push(seconds);
  }
  recordFirstToken(_: string, seconds: number): void {
    this.firstTokens.push(seconds);
  }
  recordNextToken(_: string, seconds: number): void {
    this.tokenGaps.push(seconds);
  }
  recordFinish(_: string, choice: Parameters<Instrumentation['recordFinish']>[1]): void {
    this.finishes.push(choice);
  }
  recordSwap(id: string): void {
    this.swaps.push(id);
  }
  recordRejectedPolicy(id: string): void {
    this.rejectedPolicies.push(id);
  }

  sum(field: 'prefilledTokens' | 'cachedTokens' | 'decodedSequences'): number {
    return this.steps.reduce((total, stats) => total + stats[field], 0);
  }
}

type WithInference = <T>(
  id: string | null,
  use: (inference: Inference) => Promise<T>,
  options?: Partial<InferenceOptions>,
) => Promise<T>;

/** Runs `use` with inference over the packages in `root`, whose ids are their folders' names. `id` becomes active. */
export function makeWithInference(root: string): WithInference {
  return async (id, use, options = {}) => {
    const inference = openTestInference(root, options);
    try {
      if (id !== null) await inference.activate(id);
      return await use(inference);
    } finally {
      await inference.close();
    }
  };
}

export function openTestInference(root: string, options: Partial<InferenceOptions> = {}): Inference {
  const getFolder = async (id: string) => {
    const folder = join(root, id);
    await readFile(join(folder, 'tokenizer_config.json'));
    return folder;
  };
  return openInference({ getFolder, threads: 1, ...options });
}

export function makeInput(
  policy: LoadedPolicy,
  text: string,
  sampling: Partial<SamplingParams> = {},
  overrides: Partial<GenerationInput> = {},
): GenerationInput {
  return { promptIds: policy.tokenizer.encode(text), sampling: makeSampling(sampling), n: 1, ...overrides };
}

/** Generates one choice and returns its finish event. */
export async function generateChoice(
  policy: LoadedPolicy,
  text: string,
  sampling: Partial<SamplingParams> = {},
): Promise<FinishEvent> {
  return (await collectChoices(policy.generate(makeInput(policy, text, sampling))))[0]!.finish;
}
