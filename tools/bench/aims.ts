// What the project set out to reach on two cores at the shape of SmolLM2-135M, and how far a run got.
import { type CaseResult, isDisturbed, ratio } from './case.ts';

type Rate = 'decode' | 'prefill' | 'overall';
type Aim = [what: string, streams: number, rate: Rate, of: string, to: string, least: number];

const AIMS: Aim[] = [
  ['decoding', 1, 'decode', 'attune:row8', 'transformers:q8', 1.5],
  ['decoding', 16, 'decode', 'attune:row8', 'transformers:q8', 2],
  ['decoding', 1, 'decode', 'attune:row8', 'llama:Q8_0', 1],
  ['decoding', 16, 'decode', 'attune:row8', 'llama:Q8_0', 2],
  ['decoding', 16, 'decode', 'attune:row8', 'llama-ordered:Q8_0', 2],
  ['prefill', 1, 'prefill', 'attune:row8', 'transformers:q8', 1.5],
  ['prefill', 1, 'prefill', 'attune:row8', 'llama:Q8_0', 1.5],
  ['through HTTP', 1, 'overall', 'attune-http:row8', 'attune:row8', 0.95],
  ['through HTTP', 16, 'overall', 'attune-http:row8', 'attune:row8', 0.95],
];

export type AimResult = {
  what: string;
  streams: number;
  promptLength: number;
  of: string;
  to: string;
  least: number;
  /** The median of the rounds' quotients. */
  reached: number;
  /** The best of the one's rounds over the best of the other's: what is left when the machine's moods are not. */
  ofBest: number;
  disturbed: boolean;
};

/** The aims that these cases can tell of. */
export function judgeAims(cases: CaseResult[]): AimResult[] {
  return AIMS.flatMap(([what, streams, rate, of, to, least]) =>
    cases
      .filter((one) => one.streams === streams)
      .flatMap(({ promptLength, results }) => {
        const [ours, theirs] = [of, to].map((name) => results.find(({ contender }) => contender === name));
        if (!ours || !theirs) return [];
        const reached = ratio(ours, theirs, rate);
        if (!Number.isFinite(reached)) return [];
        const ofBest = ours.best[rate] / theirs.best[rate];
        const disturbed = isDisturbed(ours) || isDisturbed(theirs);
        return [{ what, streams, promptLength, of, to, least, reached, ofBest, disturbed }];
      }),
  );
}

export function writeAims(aims: AimResult[]): string {
  const lines = aims.map(({ what, streams, promptLength, of, to, least, reached, ofBest, disturbed }) => {
    const name = `${what}, ${streams} × ${promptLength}`.padEnd(24);
    const quotient = `${reached.toFixed(2).padStart(5)}${disturbed ? '?' : ' '} of the bests ${ofBest.toFixed(2).padStart(5)}`;
    const verdict = reached >= least ? 'reached' : 'missed';
    return `${name} ${`${of} / ${to}`.padEnd(34)} ${quotient}  aim ${least.toFixed(2)}  ${verdict}`;
  });
  return lines.join('\n');
}
