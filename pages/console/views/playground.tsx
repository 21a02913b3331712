// Chat with any policy, or with two side by side.

import '../playground/playground.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { Choose, Segments } from '../parts/field.tsx';
import { shortenId } from '../parts/links.tsx';
import { Page } from '../parts/page.tsx';
import { namePolicy } from '../parts/policy-link.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Legend } from '../parts/token-map.tsx';
import { LEGEND } from '../playground/chances.ts';
import type { ChatBody, Turn } from '../playground/chat-types.ts';
import { CodeDialog } from '../playground/code-dialog.tsx';
import { Composer } from '../playground/composer.tsx';
import { OptionFields } from '../playground/options.tsx';
import { ReplyView } from '../playground/reply.tsx';
import { type Chat, useChat } from '../playground/use-chat.ts';
import { mayUse, type ViewProps } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { useFilters } from '../use-filters.ts';

const ACTIVE = 'attune';
const STARTERS = [
  'Once upon a time, there was a little fox who',
  'Tell me a story about a boat made of paper.',
  'What should I cook tonight?',
];

export default function View({ session }: ViewProps) {
  const policies = useAsk(() => listPolicies(mayUse(session, ['read'])), '');
  const { values, set } = useFilters('policy', 'with', 'show');
  const first = values.policy || ACTIVE;
  const models = values.with === '' ? [first] : [first, values.with];
  const chat = useChat(models);
  const [code, setCode] = useState<ChatBody | null>(null);
  const isTokens = values.show === 'tokens';
  if (policies.error) return <Failure title="No policies" error={policies.error} retry={policies.reload} />;
  if (!policies.data) return <Loading />;
  const names = policies.data;
  if (names.length === 0)
    return (
      <Page title="Playground">
        <Empty
          title="There is no policy to talk to"
          text="Import one, or let the first start convert the default policy."
          command="npx attune policies import hf:HuggingFaceTB/SmolLM2-135M-Instruct --promote"
        />
      </Page>
    );
  return (
    <Page
      title="Playground"
      actions={
        <>
          <Segments
            label="Replies as"
            value={isTokens ? 'tokens' : 'text'}
            options={[
              ['text', 'Text'],
              ['tokens', 'Tokens'],
            ]}
            onChange={(show) => set({ show: show === 'text' ? '' : show }, true)}
          />
          {chat.turns.length > 0 && (
            <button type="button" onClick={chat.clear}>
              New chat
            </button>
          )}
        </>
      }
    >
      <div class="playground">
        <div class="chat">
          <div class="filters">
            <Choose
              label="Policy"
              value={first}
              options={names}
              onChange={(policy) => set({ policy: policy === ACTIVE ? '' : policy })}
            />
            <Choose
              label="Compare with"
              value={values.with}
              options={[['', 'Compare with …'], ...names]}
              onChange={(other) => set({ with: other })}
            />
          </div>
          {isTokens && <Legend name="Colours of the probability" steps={LEGEND} />}
          <Conversation
            chat={chat}
            names={new Map(names)}
            isTokens={isTokens}
            mayJudge={mayUse(session, ['rate', 'feedback'])}
            showCode={setCode}
          />
          <Composer chat={chat} />
        </div>
        <Options chat={chat} />
      </div>
      {code && <CodeDialog body={code} needsKey={session.key !== null} onClose={() => setCode(null)} />}
    </Page>
  );
}

/** By id: `attune` is whichever is active. A session that may not read knows no others. */
async function listPolicies(mayRead: boolean): Promise<[string, string][]> {
  if (!mayRead) {
    const { data } = await ask(api.GET('/v1/models'));
    return data.map(({ id }: { id: string }) => [id, id === ACTIVE ? 'The active policy' : shortenId(id)]);
  }
  const { data } = await ask(api.GET('/v1/policies', { params: { query: { limit: 100 } } }));
  const active = data.find((policy) => policy.active);
  const named = data.map((policy): [string, string] => [policy.id, namePolicy(policy)]);
  return active ? [[ACTIVE, `Active: ${active.name} ${active.id.slice(-6)}`], ...named] : named;
}

type ConversationProps = {
  chat: Chat;
  names: Map<string, string>;
  isTokens: boolean;
  mayJudge: boolean;
  showCode(body: ChatBody): void;
};

function Conversation({ chat, names, isTokens, mayJudge, showCode }: ConversationProps) {
  const end = useRef<HTMLDivElement>(null);
  const { turns } = chat;
  useEffect(() => {
    if (turns.length > 0) end.current?.scrollIntoView({ block: 'nearest' });
  }, [turns.length, turns.at(-1)?.replies[0]?.text.length]);
  if (turns.length === 0)
    return (
      <div class="starters">
        <p class="title">Say something</p>
        <p class="quiet">What is said here is stored as any completion is, and can be judged.</p>
        {STARTERS.map((text) => (
          <button type="button" key={text} onClick={() => chat.send(text)}>
            {text}
          </button>
        ))}
      </div>
    );
  const nameOf = ({ body, model }: Turn['replies'][number]) =>
    names.get(body.model === ACTIVE && model ? model : body.model) ?? shortenId(model ?? body.model);
  return (
    <div class="conversation">
      <ol class="turns">
        {turns.map((turn, at) => (
          <li key={turn.id}>
            <p class="said" dir="auto">
              {turn.prompt}
            </p>
            <div class={turn.replies.length > 1 ? 'columns' : undefined}>
              {turn.replies.map((reply, index) => (
                <ReplyView
                  key={index}
                  reply={reply}
                  name={nameOf(reply)}
                  isTokens={isTokens}
                  judge={mayJudge ? (thumb) => void chat.judge(turn.id, index, thumb) : undefined}
                  regenerate={at === turns.length - 1 && index === 0 && !chat.isWriting ? chat.regenerate : undefined}
                  showCode={() => showCode(reply.body)}
                />
              ))}
            </div>
          </li>
        ))}
      </ol>
      <div ref={end} />
    </div>
  );
}

/** Beside the chat where there is room, and else above it, closed. */
function Options({ chat }: { chat: Chat }) {
  const [isWide] = useState(() => matchMedia('(min-width: 62rem)').matches);
  return (
    <details class="panel side" open={isWide}>
      <summary>Sampling</summary>
      <OptionFields options={chat.options} onChange={chat.setOptions} />
    </details>
  );
}
