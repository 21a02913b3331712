// Packs sequences into rows of tokens and splits a step into micro-batches. Sequences with the same prompt become one run
// of tokens, prompt first; runs fill rows by first-fit decreasing. Longer rows waste fewer tokens and cost more attention,
// so the cost of a row length includes both.
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import type { Sequence } from './engine.ts';

/** Sequences, by index, that share one prompt in a row, and their number of tokens with the prompt counted once. */
export type PromptRun = { members: number[]; length: number };

/** Rows of T tokens and the runs in each. */
export type RowLayout = { T: number; rows: PromptRun[][]; cost: number };

/** The extra cost of a token per token of its row, relative to the cost of a token without attention. */
export type AttentionCost = number;

/** Row lengths are multiples of this, so that rows are aligned for vector instructions. */
const ROW_LENGTH_MULTIPLE = 8;

/** Attention's small products and its softmax run at about two thirds of the speed of large products. */
const ATTENTION_SLOWDOWN = 1.5;

export function estimateAttentionCost(a: Architecture): AttentionCost {
  let flopsPerToken = 0;
  for (const [name, shape] of weightShapes(a))
    if (name.startsWith('model.layers.0.') && shape.length === 2) flopsPerToken += 2 * shape[0]! * shape[1]!;
  return (ATTENTION_SLOWDOWN * 4 * a.heads * a.headDim) / flopsPerToken;
}

/** The number of input tokens: the last token of a sequence is a target only. */
export function countInputTokens({ promptIds, responseIds }: Sequence): number {
  return promptIds.length + responseIds.length - 1;
}

/** The cheapest layout, without the null sequences; prompts are shared if that is cheaper. */
export function packRows(sequences: (Sequence | null)[], attentionCost: AttentionCost): RowLayout {
  const unsharedRuns = sequences.flatMap((sequence, i) =>
    sequence ? [{ members: [i], length: countInputTokens(sequence) }] : [],
  );
  const shared = packSharedPrompts(sequences, attentionCost);
  const unshared = fitRows(unsharedRuns, attentionCost);
  return shared && shared.cost <= unshared.cost ? shared : unshared;
}

function packSharedPrompts(sequences: (Sequence | null)[], attentionCost: AttentionCost): RowLayout | null {
  const runs: PromptRun[] = [];
  const runByPrompt = new Map<string, PromptRun>();
  // Twice the longest sequence: a longer run of many responses would make all rows as long as itself.
  const limit = 2 * Math.max(...sequences.map((sequence) => (sequence ? countInputTokens(sequence) : 0)));
  let isShared = false;
  for (const [i, sequence] of sequences.entries()) {
    if (!sequence) continue;
    const prompt = sequence.promptIds.join();
    const added = sequence.responseIds.length - 1;
    const run = runByPrompt.get(prompt);
    if (run && run.length + added <= limit) {
      run.members.push(i);
      run.length += added;
      isShared = true;
    } else {
      const newRun = { members: [i], length: countInputTokens(sequence) };
      runs.push(newRun);
      runByPrompt.set(prompt, newRun);
    }
  }
  return isShared ? fitRows(runs, attentionCost) : null;
}

/** Tries row lengths from the longest run upwards, until no longer row can be cheaper. */
function fitRows(runs: PromptRun[], attentionCost: AttentionCost): RowLayout {
  const byLength = runs.toSorted((a, b) => b.length - a.length || a.members[0]! - b.members[0]!);
  const total = runs.reduce((sum, { length }) => sum + length, 0);
  let best: RowLayout | undefined;
  for (let T = roundUp(Math.max(1, byLength[0]?.length ?? 0), ROW_LENGTH_MULTIPLE); ; T += ROW_LENGTH_MULTIPLE) {
    const costPerToken = 1 + attentionCost * T;
    if (best && (best.rows.length <= 1 || total * costPerToken >= best.cost)) return best;
    const rows = firstFit(byLength, T);
    const cost = rows.length * T * costPerToken;
    if (!best || cost < best.cost) best = { T, rows, cost };
    else if (rows.length === 1) return best;
  }
}

function firstFit(byLength: PromptRun[], T: number): PromptRun[][] {
  const rows: PromptRun[][] = [];
  const free: number[] = [];
  for (const run of byLength) {
    let row = free.findIndex((left) => left >= run.length);
    if (row < 0) {
      row = rows.length;
      rows.push([]);
      free.push(T);
    }
    rows[row]!.push(run);
    free[row]! -= run.length;
  }
  return rows;
}

/**
 * Splits items, each a few sequences that stay together, into as few micro-batches as possible, of similar lengths and
 * sizes, whose rows hold at most `maxTokens` tokens. An item that alone exceeds that is a micro-batch of its own.
 */
export function planMicroBatches(items: Sequence[][], maxTokens: number, attentionCost: AttentionCost): number[][] {
  if (items.length === 0) return [];
  const sizes = items.map((item) => item.reduce((sum, sequence) => sum + countInputTokens(sequence), 0));
  const bySize = items.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const needed = items.reduce((sum, item) => sum + countPaddedTokens(packRows(item, attentionCost)), 0);
  let count = Math.ceil(needed / maxTokens);
  for (;;) {
    const groups = splitEvenly(bySize, sizes, count);
    const fits = (group: number[]) => {
      if (group.length === 1) return true;
      const sequences = group.flatMap((i) => items[i]!);
      return countPaddedTokens(packRows(sequences, attentionCost)) <= maxTokens;
    };
    const oversized = groups.filter((group) => !fits(group)).length;
    if (oversized === 0) return groups;
    count += Math.ceil(oversized / 4);
  }
}

/** Rows of T tokens, and the response tokens in them. */
export type MicroBatchShape = { S: number; T: number; R: number };

/** The shape of each micro-batch that computes the items. */
export function planShapes(items: Sequence[][], maxTokens: number, attentionCost: AttentionCost): MicroBatchShape[] {
  return planMicroBatches(items, maxTokens, attentionCost).map((microBatch) => {
    const sequences = microBatch.flatMap((index) => items[index]!);
    const { T, rows } = packRows(sequences, attentionCost);
    return { S: rows.length, T, R: sequences.reduce((sum, { responseIds }) => sum + responseIds.length, 0) };
  });
}

/** Groups adjacent sequences with the same prompt, as long as a group fits a micro-batch. */
export function groupByPrompt(sequences: Sequence[], maxTokens: number): number[][] {
  const groups: number[][] = [];
  let last = '';
  let size = 0;
  for (const [i, sequence] of sequences.entries()) {
    const prompt = sequence.promptIds.join();
    const length = countInputTokens(sequence);
    const joins = prompt === last && size + length <= maxTokens;
    if (joins) groups.at(-1)!.push(i);
    else groups.push([i]);
    size = joins ? size + length : length;
    last = prompt;
  }
  return groups;
}

export function countPaddedTokens({ T, rows }: RowLayout): number {
  return T * rows.length;
}

/** Splits the ordered items into about `count` groups with about the same sum of sizes. */
function splitEvenly(order: number[], sizes: number[], count: number): number[][] {
  const target = sizes.reduce((sum, size) => sum + size, 0) / count;
  const groups = new Map<number, number[]>();
  let before = 0;
  for (const i of order) {
    const group = Math.floor((before + sizes[i]! / 2) / target);
    groups.set(group, [...(groups.get(group) ?? []), i]);
    before += sizes[i]!;
  }
  return [...groups.values()];
}

export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
