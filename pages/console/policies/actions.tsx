// What changes which policy answers. Each asks first, and says what will happen.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { go } from '../../path.ts';
import { formatPercent } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { shortenId } from '../parts/links.tsx';

/** `canary` and `from` are what the page showed: if that has ended by itself meanwhile, the API changes nothing. */
export type Change =
  | { type: 'promote'; policy: string; name: string; canary?: string }
  | { type: 'roll back'; from: string }
  | { type: 'start canary'; policy: string; name: string }
  | { type: 'end canary'; canary: string; isWatch: boolean };

type ChangeProps = { change: Change; onClose(): void; onDone(): void };

export function ConfirmChange({ change, onClose, onDone }: ChangeProps) {
  if (change.type === 'promote')
    return (
      <Confirm
        title={`Promote ${change.name}?`}
        action="Promote it"
        run={() => ask(promote(change)).then(onDone)}
        onClose={onClose}
      >
        <p>
          <span class="id">{shortenId(change.policy)}</span> answers all requests, once every server has loaded it.
          Running responses end on the policy that they began on. A canary that is running ends.
        </p>
      </Confirm>
    );
  if (change.type === 'roll back')
    return (
      <Confirm
        title="Roll back to the previous policy?"
        action="Roll back"
        isDangerous
        run={() => ask(api.POST('/v1/policies/rollback', { body: { from: change.from } })).then(onDone)}
        onClose={onClose}
      >
        <p>
          The policy that was active before <span class="id">{shortenId(change.from)}</span> answers all requests again.
          What <span class="id">{shortenId(change.from)}</span> learned counts as new again. It stays stored, and can be
          promoted later.
        </p>
      </Confirm>
    );
  if (change.type === 'end canary')
    return (
      <Confirm
        title={change.isWatch ? 'End the watch?' : 'End the canary?'}
        action={change.isWatch ? 'End the watch' : 'End the canary'}
        isDangerous
        run={() => ask(api.POST('/v1/canaries/{id}/cancel', { params: { path: { id: change.canary } } })).then(onDone)}
        onClose={onClose}
      >
        <p>
          {change.isWatch
            ? 'The policy stays active, and is no longer rolled back by itself.'
            : 'The active policy gets all requests again. The candidate stays stored, and can be tried again or promoted.'}
        </p>
      </Confirm>
    );
  return <StartCanary {...change} onClose={onClose} />;
}

function promote({ policy, canary }: { policy: string; canary?: string }) {
  return api.POST('/v1/policies/{id}/promote', {
    params: { path: { id: policy } },
    body: canary === undefined ? {} : { canary },
  });
}

const SHARES = [0.01, 0.05, 0.1, 0.25, 0.5];

function StartCanary({ policy, name, onClose }: { policy: string; name: string; onClose(): void }) {
  const [share, setShare] = useState('');
  const run = async () => {
    const params = { path: { id: policy } };
    const body = share === '' ? {} : { share: Number(share) };
    const { id } = await ask(api.POST('/v1/policies/{id}/canary', { params, body }));
    go(`/console/canaries/${id}`);
  };
  return (
    <Confirm title={`Try ${name} as a canary?`} action="Start the canary" run={run} onClose={onClose}>
      <p>
        It answers a share of the requests, and comparisons set it blind against the active policy. It is promoted or
        rolled back by itself, as soon as the votes are clear or a guard finds it worse.
      </p>
      <div class="fields">
        <label>
          Share of the requests
          <select value={share} onChange={({ currentTarget: { value } }) => setShare(value)}>
            <option value="">as configured</option>
            {SHARES.map((value) => (
              <option key={value} value={value}>
                {formatPercent(value)}
              </option>
            ))}
          </select>
        </label>
      </div>
    </Confirm>
  );
}
