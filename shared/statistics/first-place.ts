// How few votes decide who is first: those whose removal puts another player there. By influence functions (Broderick,
// Giordano and Meager, 2020): the votes that hold the leader up most are removed first, and each number of them is verified
// by fitting again. The number found is verified to be enough; that no other votes would do it with fewer is not proven.

import { Matrix, solve } from 'ml-matrix';
import { type Fit, fitBradleyTerry, toLogOdds, toShare } from './bradley-terry.ts';
import type { Duels } from './duels.ts';
import { listWins, reaches } from './win-groups.ts';

export type Removal = {
  rival: number;
  /** how many votes, and how many of each row */
  votes: number;
  rows: { row: number; votes: number }[];
};

/** Others are further away, so that fewer votes are unlikely to bring them first. */
const MAX_RIVALS = 3;
/** Strengths closer than this are equal but for rounding. */
const LEVEL = 1e-9;

/** The smallest removal of whole votes that puts one of `rivals` above `leader`; null: none does. */
export function findRemoval(duels: Duels, fit: Fit, leader: number, rivals: readonly number[]): Removal | null {
  const candidates = rivals
    .map((rival) => orderByInfluence(duels, fit, leader, rival))
    .sort((one, other) => one.predicted - other.predicted)
    .slice(0, MAX_RIVALS);
  let best: Removal | null = null;
  for (const candidate of candidates) {
    const removal = verify(duels, fit, leader, candidate, best?.votes ?? Number.POSITIVE_INFINITY);
    if (removal) best = removal;
  }
  return best;
}

/** `total`: votes of the rows in `order`. */
type Candidate = { rival: number; order: number[]; total: number; predicted: number };

/** The rows that hold the leader above the rival, most first; by their influence alone, `predicted` votes are enough. */
function orderByInfluence(duels: Duels, fit: Fit, leader: number, rival: number): Candidate {
  const { parameters, free, information } = fit;
  const contrast = Matrix.columnVector(
    Array.from(free, (parameter) => Number(parameter === leader) - Number(parameter === rival)),
  );
  const solved = solve(information, contrast).to1DArray();
  const direction = new Float64Array(parameters.length);
  for (const [at, parameter] of free.entries()) direction[parameter] = solved[at]!;
  const influence = Float64Array.from(
    duels.first,
    (_, row) => (duels.outcome[row]! - toShare(toLogOdds(duels, parameters, row))) * toLogOdds(duels, direction, row),
  );
  const order = [...influence.keys()]
    .filter((row) => influence[row]! > 0)
    .sort((one, other) => influence[other]! - influence[one]!);
  let gap = parameters[leader]! - parameters[rival]!;
  let total = 0;
  let predicted: number | undefined;
  for (const row of order) {
    const needed = Math.floor(gap / influence[row]!) + 1;
    if (needed <= duels.weight[row]!) predicted ??= total + needed;
    gap -= influence[row]! * duels.weight[row]!;
    total += duels.weight[row]!;
  }
  return { rival, order, total, predicted: predicted ?? total };
}

/** Fits with fewer and fewer votes removed, if less than `limit` are enough. */
function verify(duels: Duels, fit: Fit, leader: number, candidate: Candidate, limit: number): Removal | null {
  const { rival, order, total } = candidate;
  const isEnough = (votes: number) => isAhead(remove(duels, order, votes), fit, rival, leader);
  let enough = Math.min(candidate.predicted, total, limit - 1);
  let tooFew = 0;
  while (!isEnough(enough)) {
    if (enough >= Math.min(total, limit - 1)) return null;
    tooFew = enough;
    enough = Math.min(2 * enough, total, limit - 1);
  }
  // Near the prediction first: it is rarely off by much.
  for (let step = 1; enough - tooFew > 1; step *= 2) {
    const votes = Math.max(tooFew + 1, Math.min(enough - step, enough - 1));
    if (isEnough(votes)) enough = votes;
    else {
      tooFew = votes;
      step = 0.5;
    }
  }
  return { rival, votes: enough, rows: listRemoved(duels, order, enough) };
}

function listRemoved(duels: Duels, order: readonly number[], votes: number): Removal['rows'] {
  const removed: Removal['rows'] = [];
  for (let at = 0, left = votes; left > 0; at++) {
    const row = order[at]!;
    removed.push({ row, votes: Math.min(left, duels.weight[row]!) });
    left -= duels.weight[row]!;
  }
  return removed;
}

function remove(duels: Duels, order: readonly number[], votes: number): Duels {
  const weight = Float64Array.from(duels.weight);
  for (const removed of listRemoved(duels, order, votes)) weight[removed.row]! -= removed.votes;
  return { ...duels, weight };
}

/** Without a way back by wins there is no finite distance, and whoever reaches the other is ahead. */
function isAhead(duels: Duels, { parameters }: Fit, rival: number, leader: number): boolean {
  const wins = listWins(duels);
  const [down, up] = [reaches(wins, rival, leader), reaches(wins, leader, rival)];
  if (!down || !up) return down;
  const members = new Set(
    [...wins.keys()].filter((player) => reaches(wins, leader, player) && reaches(wins, player, leader)),
  );
  // Duels with players outside of the group determine nothing within it.
  const weight = duels.weight.map((count, row) =>
    members.has(duels.first[row]!) && members.has(duels.second[row]!) ? count : 0,
  );
  const fixed = [...wins.keys()].filter((player) => player === leader || !members.has(player));
  const start = parameters.map((strength, at) =>
    at >= duels.players ? strength : members.has(at) ? strength - parameters[leader]! : 0,
  );
  const fit = fitBradleyTerry({ ...duels, weight }, fixed, start);
  return fit !== null && fit.parameters[rival]! > LEVEL;
}
