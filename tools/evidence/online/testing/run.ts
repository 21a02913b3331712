// A run of the online study with given points, for tests.
import type { OnlineRunSpec } from '../config.ts';
import type { OnlineRun } from '../loop.ts';

const SPEC: OnlineRunSpec = {
  objective: 'lsif',
  reduction: 'mean',
  negatives: 'rejected',
  reference: 'root',
  weighting: 'none',
  beta: 0.1,
  taste: 'happy',
  votes: 'taste',
  learningRate: 1e-4,
  replay: 0,
  rounds: 2,
  seed: 1,
};

/** A run whose rounds end at these points. */
export function makeRun(spec: Partial<OnlineRunSpec>, points: [kl: number, winRate: number][]): OnlineRun {
  const measurement = { utilities: [0, 1], winRate: 0.5, kl: 0, meanLength: 10 };
  const rounds = points.map(([kl, winRate]) => ({
    ...measurement,
    kl,
    winRate,
    pairs: 5,
    steps: 1,
    seconds: 1,
    chosenChange: -1,
    rejectedChange: -2,
    earlierMargins: [],
    heldOut: [],
  }));
  return { spec: { ...SPEC, ...spec }, root: measurement, rounds };
}
