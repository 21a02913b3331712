// The two policies of a canary, by what each is now: once it is promoted, the candidate is the active one.

import type { Canary } from '../../api.ts';
import { PolicyLink } from '../parts/policy-link.tsx';

type Named = Pick<Canary, 'state' | 'policy' | 'baseline'>;

export const nameCandidate = ({ state }: Pick<Canary, 'state'>) =>
  state === 'watching' ? 'watched policy' : 'candidate';

export function Sides({ canary }: { canary: Named }) {
  const { state, policy, baseline } = canary;
  return (
    <>
      {state === 'watching' ? 'Watched policy' : 'Candidate'} <PolicyLink id={policy} />, baseline{' '}
      <PolicyLink id={baseline} />
      {state === 'running' && ' (active)'}
    </>
  );
}
