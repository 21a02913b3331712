// Which players' strengths a likelihood determines. It has a maximum within a group of players who all reach each other by
// wins and ties; between two groups every vote went to the one above, so that their distance has no upper limit (L. R. Ford,
// 1957). The groups are the strongly connected components of the graph of wins (R. Tarjan, 1972).

import type { Duels } from './duels.ts';

/** For each player, those who lost to or tied with them. */
export function listWins({ players, first, second, outcome, weight }: Duels): Set<number>[] {
  const wins = Array.from({ length: players }, () => new Set<number>());
  for (const [row, count] of weight.entries()) {
    if (count <= 0) continue;
    if (outcome[row]! > 0) wins[first[row]!]!.add(second[row]!);
    if (outcome[row]! < 1) wins[second[row]!]!.add(first[row]!);
  }
  return wins;
}

/** Groups of players, those who win before those who lose. */
export function groupByWins(wins: readonly ReadonlySet<number>[]): number[][] {
  const order = new Map<number, number>();
  const lowest = new Map<number, number>();
  const open: number[] = [];
  const isOpen = new Set<number>();
  const groups: number[][] = [];

  function visit(player: number): void {
    order.set(player, order.size);
    lowest.set(player, order.get(player)!);
    open.push(player);
    isOpen.add(player);
    for (const loser of wins[player]!) {
      if (!order.has(loser)) visit(loser);
      else if (!isOpen.has(loser)) continue;
      lowest.set(player, Math.min(lowest.get(player)!, lowest.get(loser)!));
    }
    if (lowest.get(player) !== order.get(player)) return;
    const group = open.splice(open.indexOf(player));
    for (const member of group) isOpen.delete(member);
    groups.push(group.sort((one, other) => one - other));
  }

  for (const player of wins.keys()) if (!order.has(player)) visit(player);
  return groups.reverse();
}

/** Whether a chain of wins and ties leads from one player to the other. */
export function reaches(wins: readonly ReadonlySet<number>[], from: number, to: number): boolean {
  const seen = new Set([from]);
  for (const player of seen) for (const loser of wins[player]!) seen.add(loser);
  return seen.has(to);
}
