// Both responses as tokens, each coloured by its log-ratio log π_θ/π_ref: what a policy has learned to say, and not to say,
// compared with the root of its line. Computed by POST /v1/score when it is looked at.

import { useMemo, useState } from 'preact/hooks';
import { api, ask, type Preference, type Session } from '../../api.ts';
import { formatFixed } from '../format.ts';
import { Choose } from '../parts/field.tsx';
import { Stat, Stats } from '../parts/page.tsx';
import { namePolicy, PolicyLink } from '../parts/policy-link.tsx';
import { Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { Legend, type MapToken, TipRows, TokenMap } from '../parts/token-map.tsx';
import { mayUse } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { findLimit, formatRatio, listSteps, toTone } from './log-ratios.ts';
import { nameSide } from './words.tsx';

type HeatMapsProps = { preference: Preference; session: Session; policy: string; choose(policy: string): void };

export function HeatMaps({ preference, session, policy, choose }: HeatMapsProps) {
  const policies = useAsk(() => ask(api.GET('/v1/policies', { params: { query: { limit: 100 } } })), '');
  const scores = useAsk(
    () => (mayUse(session, ['generate']) ? score(preference, policy) : Promise.resolve(null)),
    `${preference.id} ${policy}`,
  );
  const listed = policies.data?.data ?? [];
  const active = listed.find((one) => one.active);
  const options = [
    ['', active ? namePolicy(active) : 'The active policy'] as const,
    ...listed.filter((one) => !one.active).map((one) => [one.id, namePolicy(one)] as const),
  ];
  return (
    <>
      <div class="filters heat-head">
        <Choose label="Policy of the log-ratios" value={policy} options={options} onChange={choose} />
        {scores.data?.reference && (
          <span class="quiet">
            against the root <PolicyLink id={scores.data.reference} />
          </span>
        )}
      </div>
      {!mayUse(session, ['generate']) && <p class="quiet">Scoring responses needs a key with the scope generate.</p>}
      {scores.error && <Failure title="Not scored" error={scores.error} retry={scores.reload} />}
      {scores.isLoading && !scores.data && <Loading label="Scoring both responses …" />}
      {scores.data && <Maps preference={preference} scores={scores.data} />}
    </>
  );
}

type Scores = Awaited<ReturnType<typeof score>>;

function Maps({ preference, scores }: { preference: Preference; scores: Scores }) {
  const [chosen, rejected] = scores.data;
  const limit = useMemo(
    () => findLimit(scores.data.flatMap(({ tokens }) => (tokens ?? []).map(({ log_ratio }) => log_ratio ?? 0))),
    [scores],
  );
  if (!chosen || !rejected) return null;
  if (scores.reference === null)
    return (
      <p class="quiet">
        <PolicyLink id={scores.model} /> is the root of its line, so that every log-ratio is 0. Choose a policy that a
        round has trained.
      </p>
    );
  const margin = (chosen.log_ratio ?? 0) - (rejected.log_ratio ?? 0);
  return (
    <>
      <Stats>
        <Stat
          label={`Log-ratio, ${nameSide(preference, 'chosen').toLowerCase()}`}
          value={formatRatio(chosen.log_ratio)}
        />
        <Stat
          label={`Log-ratio, ${nameSide(preference, 'rejected').toLowerCase()}`}
          value={formatRatio(rejected.log_ratio)}
        />
        <Stat
          label="Margin"
          value={formatRatio(margin)}
          hint={margin > 0 ? 'the policy agrees with the rater' : 'the policy does not agree with the rater'}
        />
      </Stats>
      <Legend name="Colours of the log-ratio" steps={listSteps(limit)} />
      <div class="columns">
        {(['chosen', 'rejected'] as const).map((side, at) => (
          <TokenPanel key={side} name={nameSide(preference, side)} score={scores.data[at]!} limit={limit} />
        ))}
      </div>
    </>
  );
}

function TokenPanel({ name, score, limit }: { name: string; score: Scores['data'][number]; limit: number }) {
  const [isTable, setTable] = useState(false);
  const { tokens = [] } = score;
  const words = useMemo(
    () =>
      tokens.map(
        ({ token, log_ratio }): MapToken => ({
          text: token,
          tone: toTone(log_ratio ?? 0, limit),
          label: `log-ratio ${formatRatio(log_ratio)}`,
        }),
      ),
    [score, limit],
  );
  return (
    <section class="response" aria-label={name}>
      <h3>{name}</h3>
      <TokenMap
        name={`Tokens of the response ${name}`}
        tokens={words}
        describe={(at) => {
          const { token, logp, ref_logp, log_ratio } = tokens[at]!;
          return (
            <TipRows
              title={token}
              rows={[
                ['log-ratio', formatRatio(log_ratio)],
                ['log π', formatFixed(logp, 3)],
                ['log π_ref', ref_logp === null ? '–' : formatFixed(ref_logp, 3)],
              ]}
            />
          );
        }}
      />
      <details class="numbers" onToggle={(event) => setTable(event.currentTarget.open)}>
        <summary>{tokens.length} tokens as a table</summary>
        {isTable && (
          <Table
            caption={`Tokens of the response ${name}`}
            rows={tokens}
            rowKey={(row) => String(tokens.indexOf(row))}
            columns={[
              { title: 'Token', cell: ({ token }) => <code class="token-text">{token.replaceAll('\n', '↵')}</code> },
              { title: 'Log-ratio', isNumber: true, cell: ({ log_ratio }) => formatRatio(log_ratio) },
              { title: 'log π', isNumber: true, cell: ({ logp }) => formatFixed(logp, 3) },
              {
                title: 'log π_ref',
                isNumber: true,
                cell: ({ ref_logp }) => (ref_logp === null ? '–' : formatFixed(ref_logp, 3)),
              },
            ]}
          />
        )}
      </details>
    </section>
  );
}

/** An empty response has no token to score. */
function score({ prompt, chosen, rejected }: Preference, policy: string) {
  const asked = typeof prompt === 'string' ? { prompt } : { messages: prompt as { role: 'user'; content: string }[] };
  return ask(
    api.POST('/v1/score', {
      body: { ...asked, ...(policy === '' ? {} : { model: policy }), responses: [chosen.text, rejected.text] },
    }),
  );
}
