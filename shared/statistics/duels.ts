// Votes between two players as columns, so that a hundred thousand of them are small. Players are numbers from 0.

export type Duels = {
  players: number;
  first: Int32Array;
  second: Int32Array;
  /** 1: the first won; 0: the second; 0.5: neither */
  outcome: Float64Array;
  /** how many votes the row stands for */
  weight: Float64Array;
  /** by how much the first exceeds the second in each covariate, row by row */
  features: Float64Array;
  featureCount: number;
};

/** The rows that `keep` is true for. */
export function filterDuels(duels: Duels, keep: (row: number) => boolean): Duels {
  const rows = [...duels.first.keys()].filter(keep);
  const { featureCount } = duels;
  const features = new Float64Array(rows.length * featureCount);
  for (const [at, row] of rows.entries())
    features.set(duels.features.subarray(row * featureCount, (row + 1) * featureCount), at * featureCount);
  return {
    players: duels.players,
    first: Int32Array.from(rows, (row) => duels.first[row]!),
    second: Int32Array.from(rows, (row) => duels.second[row]!),
    outcome: Float64Array.from(rows, (row) => duels.outcome[row]!),
    weight: Float64Array.from(rows, (row) => duels.weight[row]!),
    features,
    featureCount,
  };
}

/** One row for each pair of players and outcome, which determine a likelihood without covariates. */
export function aggregateDuels(duels: Duels): Duels {
  const totals = new Map<string, { first: number; second: number; outcome: number; weight: number }>();
  for (const [row, weight] of duels.weight.entries()) {
    const [one, other, result] = [duels.first[row]!, duels.second[row]!, duels.outcome[row]!];
    const [first, second, outcome] = one < other ? [one, other, result] : [other, one, 1 - result];
    const key = `${first} ${second} ${outcome}`;
    const total = totals.get(key);
    if (total) total.weight += weight;
    else totals.set(key, { first, second, outcome, weight });
  }
  const rows = [...totals.values()];
  return {
    players: duels.players,
    first: Int32Array.from(rows, ({ first }) => first),
    second: Int32Array.from(rows, ({ second }) => second),
    outcome: Float64Array.from(rows, ({ outcome }) => outcome),
    weight: Float64Array.from(rows, ({ weight }) => weight),
    features: new Float64Array(0),
    featureCount: 0,
  };
}
