// Inference over a folder of packages, for tests: opened, used, closed.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishEvent, GenerationInput, Inference, LoadedPolicy } from '../edge/engine/inference.ts';
import type { Meter, StepReport } from '../edge/engine/instrumentation.ts';
import { type InferenceOptions, openInference } from '../edge/engine/policy-pool.ts';
import type { Sampling } from '../shared/decoder/sampling.ts';
import { chooseSampling, collect } from './policy-package.ts';

/** A tiny random model that never stops by itself. */
export const ENDLESS = { logitBias: { 1: -100, 2: -100 }, maxTokens: 100 };

/** A meter that remembers what it was told. */
export class Record implements Meter {
  readonly steps: StepReport[] = [];
  readonly waits: number[] = [];
  readonly firstTokens: number[] = [];
  readonly gaps: number[] = [];
  readonly ends: Parameters<Meter['finished']>[1][] = [];
  readonly swaps: string[] = [];
  readonly refusals: string[] = [];

  step(report: StepReport): void {
    this.steps.push(report);
  }
  started(_: string, waited: number): void {
    this.waits.push(waited);
  }
  firstToken(_: string, seconds: number): void {
    this.firstTokens.push(seconds);
  }
  nextToken(_: string, seconds: number): void {
    this.gaps.push(seconds);
  }
  finished(_: string, choice: Parameters<Meter['finished']>[1]): void {
    this.ends.push(choice);
  }
  swapped(id: string): void {
    this.swaps.push(id);
  }
  refused(id: string): void {
    this.refusals.push(id);
  }

  sum(field: 'prefilled' | 'reused' | 'rows'): number {
    return this.steps.reduce((total, report) => total + report[field], 0);
  }
}

export type Use = <T>(
  id: string | null,
  use: (inference: Inference) => Promise<T>,
  options?: Partial<InferenceOptions>,
) => Promise<T>;

/** Packages are the folders below `root`, by name. The named one is active. */
export function useInference(root: string): Use {
  return async (id, use, options = {}) => {
    const inference = openPackages(root, options);
    try {
      if (id !== null) await inference.activate(id);
      return await use(inference);
    } finally {
      await inference.close();
    }
  };
}

export function openPackages(root: string, options: Partial<InferenceOptions> = {}): Inference {
  const folderOf = async (id: string) => {
    const folder = join(root, id);
    await readFile(join(folder, 'tokenizer_config.json'));
    return folder;
  };
  return openInference({ folderOf, threads: 1, ...options });
}

export function inputFor(
  policy: LoadedPolicy,
  text: string,
  sampling: Partial<Sampling> = {},
  given: Partial<GenerationInput> = {},
): GenerationInput {
  return { promptIds: policy.tokenizer.encode(text), sampling: chooseSampling(sampling), n: 1, ...given };
}

/** The only choice's finish. */
export async function finish(
  policy: LoadedPolicy,
  text: string,
  sampling: Partial<Sampling> = {},
): Promise<FinishEvent> {
  return (await collect(policy.generate(inputFor(policy, text, sampling))))[0]!.finish;
}
