// What others chose on the same comparison.

import { api, ask, type Preference } from '../../api.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { Panel } from '../parts/page.tsx';
import { ErrorLine } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { useAsk } from '../use-ask.ts';
import { ChoiceBadge } from './words.tsx';

type OtherRatersProps = { comparison: string; preference: Preference; nameRater(rater: string): string };

export function OtherRaters({ comparison, preference, nameRater }: OtherRatersProps) {
  const { data, error } = useAsk(
    () => ask(api.GET('/v1/preferences', { params: { query: { limit: 100, comparison } } })),
    comparison,
  );
  const votes = (data?.data ?? []).filter(({ edit_of }) => edit_of === null);
  const same = votes.filter(({ choice }) => choice === preference.choice).length;
  return (
    <Panel
      title="Raters of this comparison"
      hint={votes.length > 1 ? `${same} of ${votes.length} chose the same` : 'Nobody else has voted on it'}
    >
      {error && <ErrorLine>{error.message}</ErrorLine>}
      {votes.length > 0 && (
        <Table
          caption="Votes on this comparison"
          rows={votes}
          rowKey={({ id }) => id}
          columns={[
            { title: 'Rater', cell: ({ rater }) => <span title={rater}>{nameRater(rater)}</span> },
            { title: 'Choice', cell: (vote) => <ChoiceBadge preference={vote} /> },
            { title: 'Strength', cell: ({ strength }) => strength ?? '–' },
            { title: 'Comment', cell: ({ comment }) => comment ?? '–' },
            { title: 'When', cell: ({ created }) => <Time at={created} /> },
            {
              title: 'Vote',
              cell: ({ id }) =>
                id === preference.id ? <span class="quiet">this one</span> : <IdLink kind="preferences" id={id} />,
            },
          ]}
        />
      )}
    </Panel>
  );
}
