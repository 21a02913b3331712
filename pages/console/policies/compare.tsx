// Two policies side by side on one prompt, with one seed. Nothing is stored, and nobody votes: for that there are comparisons.

import { useEffect, useRef, useState } from 'preact/hooks';
import { api, ask, type Policy } from '../../api.ts';
import { follow, go, useAddress } from '../../path.ts';
import { formatSeconds } from '../format.ts';
import { IdLink } from '../parts/links.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { namePolicy } from '../parts/policy-link.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { useAsk } from '../use-ask.ts';
import { type Answer, type AnswerRequest, answer, NOTHING } from './answer.ts';
import { CompareForm } from './compare-form.tsx';
import { PolicyBadge } from './policy-badge.tsx';

type Side = 'a' | 'b';

export function Compare() {
  const { searchParams } = useAddress();
  const list = useAsk(() => ask(api.GET('/v1/policies', { params: { query: { limit: 100 } } })), 'policies');
  const [request, setRequest] = useState<AnswerRequest>({
    prompt: 'Once upon a time',
    isChat: false,
    seed: 1,
    temperature: 0.7,
    maxTokens: 100,
  });
  const [answers, setAnswers] = useState<Record<Side, Answer> | null>(null);
  const [isRunning, setRunning] = useState(false);
  const abort = useRef(new AbortController());
  useEffect(() => () => abort.current.abort(), []);

  const policies = list.data?.data ?? [];
  const active = policies.find((policy) => policy.active);
  const find = (id: string | null) => policies.find((policy) => policy.id === id);
  const a = find(searchParams.get('a')) ?? active ?? policies[0];
  const b =
    find(searchParams.get('b')) ?? policies.find(({ id }) => id === a?.parent) ?? policies.find((one) => one !== a);
  const choose = (side: Side, id: string) =>
    go(`/console/policies/compare?${new URLSearchParams({ a: a?.id ?? '', b: b?.id ?? '', [side]: id })}`);

  const run = async (event: Event) => {
    event.preventDefault();
    if (!a || !b) return;
    abort.current.abort();
    abort.current = new AbortController();
    const { signal } = abort.current;
    setRunning(true);
    setAnswers({ a: NOTHING, b: NOTHING });
    const fill = (side: Side, policy: Policy) =>
      answer(policy.id, request, signal, (change) =>
        setAnswers((before) => before && { ...before, [side]: { ...before[side], ...change } }),
      );
    await Promise.all([fill('a', a), fill('b', b)]);
    if (!signal.aborted) setRunning(false);
  };

  if (!list.data) return list.error ? <Failure title="The policies cannot be read" error={list.error} /> : <Loading />;
  if (!a || !b)
    return (
      <Page parent={<Parent />} title="Compare two policies">
        <Empty title="There is one policy only" text="A round makes the next one, or import another checkpoint.">
          <a class="button" href="/console/rounds" onClick={follow}>
            Rounds
          </a>
        </Empty>
      </Page>
    );
  return (
    <Page parent={<Parent />} title="Compare two policies" text="The same prompt and seed for both. Nothing is stored.">
      <CompareForm
        request={request}
        isRunning={isRunning}
        onChange={(changes) => setRequest({ ...request, ...changes })}
        run={run}
      />
      <div class="columns">
        {(
          [
            ['a', a],
            ['b', b],
          ] as const
        ).map(([side, policy]) => (
          <Panel
            key={side}
            title={side.toUpperCase()}
            actions={
              <>
                <PolicyBadge state={policy.state} />
                <IdLink kind="policies" id={policy.id} />
              </>
            }
          >
            <select
              aria-label={`Policy ${side.toUpperCase()}`}
              value={policy.id}
              onChange={({ currentTarget: { value } }) => choose(side, value)}
            >
              {policies.map((listed) => (
                <option key={listed.id} value={listed.id}>
                  {namePolicy(listed)}
                </option>
              ))}
            </select>
            <Result answer={answers?.[side] ?? null} prompt={request.isChat ? '' : request.prompt} />
          </Panel>
        ))}
      </div>
    </Page>
  );
}

function Result({ answer: shown, prompt }: { answer: Answer | null; prompt: string }) {
  if (!shown) return <p class="result quiet">Nothing yet.</p>;
  if (shown.error) return <p class="result error">{shown.error}</p>;
  return (
    <>
      <p class="result" aria-busy={shown.seconds === null}>
        <span class="quiet">{prompt}</span>
        {shown.text}
        {shown.text === '' && shown.seconds === null && <span class="quiet"> …</span>}
      </p>
      <p class="quiet small">
        {shown.tokens} tokens
        {shown.seconds !== null && ` in ${formatSeconds(shown.seconds)}`}
      </p>
    </>
  );
}

const Parent = () => (
  <a href="/console/policies" onClick={follow}>
    Policies
  </a>
);
