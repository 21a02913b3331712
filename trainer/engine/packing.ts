// Decides which sequences share their prompt, which lie in one row of tokens, and which are computed at once. Sequences
// with one prompt become one run of tokens, prompt first; runs fill rows, first-fit decreasing. Longer rows waste less
// and cost more attention, so every way is priced.
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import type { Sequence } from './engine.ts';

/** Sequences, by their places in the list, that follow one prompt. */
export type Run = { members: number[]; length: number };

/** Rows of T tokens and the runs in each. */
export type Layout = { T: number; rows: Run[][]; cost: number };

/** What a token costs more for each token that its row has, as a share of what it costs anyway. */
export type AttentionCost = number;

/** Of rows, so that they begin at addresses that vector instructions like. */
const LENGTH_STEP = 8;

/** Attention's small products and what is done to its scores run at about two thirds of the speed of large products. */
const ATTENTION_SLOWNESS = 1.5;

export function attentionCostOf(a: Architecture): AttentionCost {
  let products = 0;
  for (const [name, shape] of weightShapes(a))
    if (name.startsWith('model.layers.0.') && shape.length === 2) products += 2 * shape[0]! * shape[1]!;
  return (ATTENTION_SLOWNESS * 4 * a.heads * a.headDim) / products;
}

/** The number of tokens that the model reads: the last one is only predicted. */
export function inputLength({ promptIds, responseIds }: Sequence): number {
  return promptIds.length + responseIds.length - 1;
}

/** The cheapest way to lay these out, null ones left out; prompts are shared where that is cheaper. */
export function layOut(sequences: (Sequence | null)[], attention: AttentionCost): Layout {
  const apart = sequences.flatMap((sequence, i) => (sequence ? [{ members: [i], length: inputLength(sequence) }] : []));
  const shared = shareLayout(sequences, attention);
  const alone = fillRows(apart, attention);
  return shared && shared.cost <= alone.cost ? shared : alone;
}

function shareLayout(sequences: (Sequence | null)[], attention: AttentionCost): Layout | null {
  const runs: Run[] = [];
  const open = new Map<string, Run>();
  // A pair of the longest two; runs of many responses would make rows that nothing else needs.
  const limit = 2 * Math.max(...sequences.map((sequence) => (sequence ? inputLength(sequence) : 0)));
  let isShared = false;
  for (const [i, sequence] of sequences.entries()) {
    if (!sequence) continue;
    const prompt = sequence.promptIds.join();
    const more = sequence.responseIds.length - 1;
    const run = open.get(prompt);
    if (run && run.length + more <= limit) {
      run.members.push(i);
      run.length += more;
      isShared = true;
    } else {
      const started = { members: [i], length: inputLength(sequence) };
      runs.push(started);
      open.set(prompt, started);
    }
  }
  return isShared ? fillRows(runs, attention) : null;
}

function fillRows(runs: Run[], attention: AttentionCost): Layout {
  const order = runs.toSorted((a, b) => b.length - a.length || a.members[0]! - b.members[0]!);
  const total = runs.reduce((sum, { length }) => sum + length, 0);
  let best: Layout | undefined;
  for (let T = roundUp(Math.max(1, order[0]?.length ?? 0), LENGTH_STEP); ; T += LENGTH_STEP) {
    const price = 1 + attention * T;
    if (best && (best.rows.length <= 1 || total * price >= best.cost)) return best;
    const rows = firstFit(order, T);
    const cost = rows.length * T * price;
    if (!best || cost < best.cost) best = { T, rows, cost };
    else if (rows.length === 1) return best;
  }
}

function firstFit(order: Run[], T: number): Run[][] {
  const rows: Run[][] = [];
  const free: number[] = [];
  for (const run of order) {
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
 * Splits items, each a few sequences that have to stay together, into groups of like lengths and like sizes whose rows
 * hold no more than `budget` tokens; an item that alone holds more is a group. As few groups as that allows.
 */
export function planGroups(items: Sequence[][], budget: number, attention: AttentionCost): number[][] {
  if (items.length === 0) return [];
  const sizes = items.map((item) => item.reduce((sum, sequence) => sum + inputLength(sequence), 0));
  const order = items.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const needed = items.reduce((sum, item) => sum + tokensOf(layOut(item, attention)), 0);
  let count = Math.ceil(needed / budget);
  for (;;) {
    const groups = split(order, sizes, count);
    const fits = (group: number[]) =>
      group.length === 1 ||
      tokensOf(
        layOut(
          group.flatMap((i) => items[i]!),
          attention,
        ),
      ) <= budget;
    const large = groups.filter((group) => !fits(group)).length;
    if (large === 0) return groups;
    count += Math.ceil(large / 4);
  }
}

/** Neighbours with one prompt, as long as they fit a micro-batch together. */
export function groupByPrompt(sequences: Sequence[], budget: number): number[][] {
  const groups: number[][] = [];
  let last = '';
  let size = 0;
  for (const [i, sequence] of sequences.entries()) {
    const prompt = sequence.promptIds.join();
    const length = inputLength(sequence);
    const joins = prompt === last && size + length <= budget;
    if (joins) groups.at(-1)!.push(i);
    else groups.push([i]);
    size = joins ? size + length : length;
    last = prompt;
  }
  return groups;
}

export function tokensOf({ T, rows }: Layout): number {
  return T * rows.length;
}

/** Cuts the ordered items into about `count` groups of about the same sum of sizes. */
function split(order: number[], sizes: number[], count: number): number[][] {
  const share = sizes.reduce((sum, size) => sum + size, 0) / count;
  const groups = new Map<number, number[]>();
  let before = 0;
  for (const i of order) {
    const group = Math.floor((before + sizes[i]! / 2) / share);
    groups.set(group, [...(groups.get(group) ?? []), i]);
    before += sizes[i]!;
  }
  return [...groups.values()];
}

export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
