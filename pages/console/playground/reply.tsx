// One reply of a policy: its text or its tokens, how fast it was, and what one thinks of it.

import './reply.css';
import { useMemo, useState } from 'preact/hooks';
import { Markdown } from '../../markdown/markdown.tsx';
import { formatCount, formatFixed, formatSeconds } from '../format.ts';
import { ErrorLine } from '../parts/states.tsx';
import { type MapToken, TipRows, TokenMap } from '../parts/token-map.tsx';
import { formatChance, toTone } from './chances.ts';
import type { Reply, TokenEntry } from './chat-types.ts';

type ReplyProps = {
  reply: Reply;
  /** of the policy */
  name: string;
  isTokens: boolean;
  /** undefined: the session may not */
  judge: ((thumb: 1 | -1) => void) | undefined;
  /** of the last turn */
  regenerate: (() => void) | undefined;
  showCode(): void;
};

export function ReplyView({ reply, name, isTokens, judge, regenerate, showCode }: ReplyProps) {
  const { text, tokens, state, error, generation, thumb } = reply;
  return (
    <article class={`reply ${state}`} aria-label={`Reply of ${name}`} aria-busy={state === 'writing'}>
      <p class="author" title={reply.model ?? undefined}>
        {name}
      </p>
      {text === '' && state === 'writing' && <p class="waiting" role="status" aria-label="The policy is writing" />}
      {text === '' && state !== 'writing' && !error && <p class="quiet">An empty reply.</p>}
      {isTokens && tokens.length > 0 ? <Tokens tokens={tokens} name={name} /> : <Markdown text={text} />}
      {error && <ErrorLine>{error}</ErrorLine>}
      {state !== 'writing' && (
        <footer>
          {generation && judge && (
            <>
              <button
                type="button"
                class="plain small"
                aria-label="Good reply"
                aria-pressed={thumb === 1}
                onClick={() => judge(1)}
              >
                <Thumb />
              </button>
              <button
                type="button"
                class="plain small"
                aria-label="Bad reply"
                aria-pressed={thumb === -1}
                onClick={() => judge(-1)}
              >
                <Thumb isDown />
              </button>
            </>
          )}
          {text !== '' && <Copy text={text} />}
          <button type="button" class="plain small" onClick={showCode}>
            Code
          </button>
          {regenerate && (
            <button type="button" class="plain small" onClick={regenerate}>
              Regenerate
            </button>
          )}
          <span class="quiet facts-line" title={generation ?? undefined}>
            {describe(reply)}
          </span>
        </footer>
      )}
    </article>
  );
}

function describe({ usage, tokens, totalMs, firstMs, finish, state }: Reply): string {
  const count = usage?.completion_tokens ?? tokens.length;
  const seconds = (totalMs ?? 0) / 1000;
  return [
    count > 0 && `${formatCount(count)} tokens`,
    count > 1 && seconds > 0 && `${formatCount(Math.round(count / seconds))} / s`,
    firstMs !== null && `first after ${formatSeconds(firstMs / 1000)}`,
    state === 'stopped' ? 'stopped' : finish === 'length' ? 'cut at the limit' : finish,
  ]
    .filter(Boolean)
    .join(' · ');
}

function Tokens({ tokens, name }: { tokens: TokenEntry[]; name: string }) {
  const words = useMemo(
    () =>
      tokens.map(
        ({ token, logprob }): MapToken => ({
          text: token,
          tone: toTone(logprob),
          label: `probability ${formatChance(logprob)}`,
        }),
      ),
    [tokens],
  );
  return (
    <TokenMap
      name={`Tokens of the reply of ${name}`}
      tokens={words}
      describe={(at) => {
        const { token, logprob, top_logprobs: top } = tokens[at]!;
        const others = top.filter((one) => one.token !== token);
        return (
          <>
            <TipRows
              title={token}
              rows={[
                ['probability', formatChance(logprob)],
                ['log p', formatFixed(logprob, 3)],
              ]}
            />
            {others.length > 0 && (
              <>
                <p class="quiet">instead of</p>
                <TipRows rows={others.map((one) => [one.token.replaceAll('\n', '↵'), formatChance(one.logprob)])} />
              </>
            )}
          </>
        );
      }}
    />
  );
}

function Copy({ text }: { text: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button type="button" class="plain small" onClick={copy}>
      {isCopied ? 'Copied' : 'Copy'}
    </button>
  );
}

function Thumb({ isDown = false }: { isDown?: boolean }) {
  return (
    <svg class={isDown ? 'thumb down' : 'thumb'} width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M5 7 7.6 1.8c1 0 1.7.8 1.7 1.8V6h3.3c.8 0 1.4.8 1.2 1.6l-1 4.8c-.2.7-.8 1.1-1.4 1.1H5M5 7v6.5M5 7H2.5v6.5H5" />
    </svg>
  );
}
