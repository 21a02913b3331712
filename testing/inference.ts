// Inference over a folder of packages, for tests: opened, used, closed.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishEvent, GenerationInput, Inference, LoadedPolicy } from '../edge/engine/inference.ts';
import type { Instrumentation, StepStats } from '../edge/engine/instrumentation.ts';
import { type InferenceOptions, openInference } from '../edge/engine/policy-pool.ts';
import type { SamplingParams } from '../shared/decoder/sampling.ts';
import { collectChoices, makeSampling } from './policy-package.ts';

/** A tiny random model that never stops by itself. */
export const NO_EOS = { logitBias: { 1: -100, 2: -100 }, maxTokens: 100 };

/** A meter that remembers what it was told. */
export class RecordingInstrumentation implements Instrumentation {
  readonly steps: StepStats[] = [];
  readonly waits: number[] = [];
  readonly firstTokens: number[] = [];
  readonly gaps: number[] = [];
  readonly ends: Parameters<Instrumentation['recordFinish']>[1][] = [];
  readonly swaps: string[] = [];
  readonly refusals: string[] = [];

  recordStep(report: StepStats): void {
    this.steps.push(report);
  }
  recordQueueTime(_: string, waited: number): void {
    this.waits.push(waited);
  }
  recordFirstToken(_: string, seconds: number): void {
    this.firstTokens.push(seconds);
  }
  recordNextToken(_: string, seconds: number): void {
    this.gaps.push(seconds);
  }
  recordFinish(_: string, choice: Parameters<Instrumentation['recordFinish']>[1]): void {
    this.ends.push(choice);
  }
  recordSwap(id: string): void {
    this.swaps.push(id);
  }
  recordRejectedPolicy(id: string): void {
    this.refusals.push(id);
  }

  sum(field: 'prefilledTokens' | 'cachedTokens' | 'decodedSequences'): number {
    return this.steps.reduce((total, report) => total + report[field], 0);
  }
}

export type WithInference = <T>(
  id: string | null,
  use: (inference: Inference) => Promise<T>,
  options?: Partial<InferenceOptions>,
) => Promise<T>;

/** Packages are the folders below `root`, by name. The named one is active. */
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
  const folderOf = async (id: string) => {
    const folder = join(root, id);
    await readFile(join(folder, 'tokenizer_config.json'));
    return folder;
  };
  return openInference({ folderOf, threads: 1, ...options });
}

export function makeInput(
  policy: LoadedPolicy,
  text: string,
  sampling: Partial<SamplingParams> = {},
  given: Partial<GenerationInput> = {},
): GenerationInput {
  return { promptIds: policy.tokenizer.encode(text), sampling: makeSampling(sampling), n: 1, ...given };
}

/** The only choice's finish. */
export async function generateOne(
  policy: LoadedPolicy,
  text: string,
  sampling: Partial<SamplingParams> = {},
): Promise<FinishEvent> {
  return (await collectChoices(policy.generate(makeInput(policy, text, sampling))))[0]!.finish;
}
