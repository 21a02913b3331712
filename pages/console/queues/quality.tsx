// How good the votes of a queue are, and its raters, each of whom can be paused.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatCount, formatSeconds } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Field } from '../parts/field.tsx';
import { Badge, Panel, Stat, Stats } from '../parts/page.tsx';
import { Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { useAsk } from '../use-ask.ts';
import { useRaterNames } from '../use-rater-names.ts';
import { asAlpha, type Measure, Measured, type QueueQuality, VoteBar } from './measures.tsx';

type QualityProps = { id: string; mayChange: boolean; version: number };

export function Quality({ id, mayChange, version }: QualityProps) {
  const { data, error, reload } = useAsk(
    () => ask(api.GET('/v1/queues/{id}/quality', { params: { path: { id } } })),
    `${id} ${version}`,
  );
  if (error)
    return (
      <Panel title="Quality">
        <Failure title="Not measured" error={error} retry={reload} />
      </Panel>
    );
  if (!data) return <Loading label="Measuring the votes …" />;
  const { agreement, gold, consistency, votes, split } = data;
  return (
    <>
      <Panel title="Agreement" hint="With 95% intervals, once six items tell">
        <Stats>
          <Stat
            label="Between raters, α"
            value={<Measured measure={agreement.choice} format={asAlpha} />}
            hint="1: all agree; 0: as by chance"
          />
          <Stat
            label="Of the strength, α"
            value={<Measured measure={agreement.strength} format={asAlpha} />}
            hint={describeCount(agreement.strength, 'items')}
          />
          <Stat
            label="With gold"
            value={<Measured measure={gold.accuracy} />}
            hint={describeCount(gold.accuracy, 'votes')}
          />
          <Stat
            label="With themselves"
            value={<Measured measure={consistency} />}
            hint={describeCount(consistency, 'repeated items')}
          />
          <Stat label="Split items" value={formatCount(split.count)} hint="raters disagree on them" />
          <Stat label="Votes" value={formatCount(votes.total)} hint={<VoteBar votes={votes} />} />
        </Stats>
      </Panel>
      <Raters id={id} quality={data} mayChange={mayChange} reload={reload} />
    </>
  );
}

function describeCount({ count }: Measure, of: string): string {
  return `of ${formatCount(count)} ${count === 1 ? of.slice(0, -1) : of}`;
}

type RatersProps = { id: string; quality: QueueQuality; mayChange: boolean; reload(): void };
type QueueRater = QueueQuality['raters'][number];

function Raters({ id, quality, mayChange, reload }: RatersProps) {
  const [chosen, setChosen] = useState<QueueRater | null>(null);
  const findName = useRaterNames();
  return (
    <Panel title="Raters of this queue">
      {quality.raters.length === 0 ? (
        <p class="quiet">
          Nobody has voted yet. Raters find the queue at <a href={`/rate/${id}`}>/rate</a>;{' '}
          <a href="/console/queues?show=raters" onClick={follow}>
            invite some
          </a>
          .
        </p>
      ) : (
        <Table
          caption="Measures of its raters"
          rows={quality.raters}
          rowKey={({ rater }) => rater}
          columns={[
            { title: 'Rater', cell: ({ rater }) => <span title={rater}>{findName(rater)}</span> },
            { title: 'Votes', isNumber: true, cell: ({ votes }) => formatCount(votes) },
            { title: 'Skips', isNumber: true, cell: ({ skips }) => formatCount(skips) },
            { title: 'Agreement', isNumber: true, cell: ({ agreement }) => <Measured measure={agreement} /> },
            { title: 'Gold', isNumber: true, cell: ({ gold }) => <Measured measure={gold.accuracy} /> },
            { title: 'Consistency', isNumber: true, cell: ({ consistency }) => <Measured measure={consistency} /> },
            {
              title: 'Side A',
              isNumber: true,
              cell: ({ side_bias }) => <Measured measure={side_bias} mark={findBias(side_bias)} />,
            },
            {
              title: 'Median',
              isNumber: true,
              cell: ({ seconds }) => (seconds.value === null ? '–' : formatSeconds(seconds.value)),
            },
            {
              title: 'State',
              cell: ({ paused }) =>
                paused ? (
                  <span title={paused.reason ?? ''}>
                    <Badge tone="warn">paused</Badge>
                  </span>
                ) : (
                  <Badge tone="good">rating</Badge>
                ),
            },
            ...(mayChange
              ? [
                  {
                    title: 'Change',
                    cell: (rater: QueueRater) => (
                      <button type="button" class="small" onClick={() => setChosen(rater)}>
                        {rater.paused ? 'Resume' : 'Pause'}
                        <span class="hidden"> {findName(rater.rater)}</span>
                      </button>
                    ),
                  },
                ]
              : []),
          ]}
        />
      )}
      {chosen && (
        <Pause id={id} rater={chosen} name={findName(chosen.rater)} onClose={() => setChosen(null)} onChange={reload} />
      )}
    </Panel>
  );
}

/** Of votes for a side half are for A, whoever votes. */
function findBias({ interval }: Measure): string | undefined {
  if (!interval || (interval.low <= 0.5 && interval.high >= 0.5)) return undefined;
  return interval.low > 0.5 ? 'prefers what is shown as A' : 'prefers what is shown as B';
}

type PauseProps = { id: string; rater: QueueRater; name: string; onClose(): void; onChange(): void };

function Pause({ id, rater: { rater, paused }, name, onClose, onChange }: PauseProps) {
  const [reason, setReason] = useState('');
  const path = { params: { path: { id, rater } } };
  const run = async () => {
    if (paused) await ask(api.POST('/v1/queues/{id}/raters/{rater}/resume', path));
    else
      await ask(api.POST('/v1/queues/{id}/raters/{rater}/pause', { ...path, body: reason === '' ? {} : { reason } }));
    onChange();
  };
  return (
    <Confirm
      title={`${paused ? 'Resume' : 'Pause'} ${name}`}
      action={paused ? 'Resume' : 'Pause'}
      isDangerous={!paused}
      run={run}
      onClose={onClose}
    >
      {paused ? (
        <p>
          {paused.reason ? `Paused because: ${paused.reason}. ` : ''}
          {name} gets items of this queue again, and the gold items from before do not pause them again.
        </p>
      ) : (
        <div class="form">
          <p>{name} gets no more items of this queue. Votes that were given stay.</p>
          <Field label="Reason" hint="the rater reads it">
            <input maxLength={1000} value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
          </Field>
        </div>
      )}
    </Confirm>
  );
}
