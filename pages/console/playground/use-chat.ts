// The conversation: it is sent, streamed, stopped, generated again and judged. It stays, and a reply is written on, while one
// looks at another view.

import { useEffect, useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { streamPost } from '../../event-stream.ts';
import { type ChatBody, DEFAULTS, type Options, type Reply, type TokenEntry, type Turn, toBody } from './chat-types.ts';

type Chunk = {
  model: string;
  choices: {
    index: number;
    generation_id?: string;
    delta: { content?: string };
    logprobs: { content: TokenEntry[] } | null;
    finish_reason: string | null;
  }[];
  usage: Reply['usage'];
};

export type Chat = {
  turns: Turn[];
  options: Options;
  isWriting: boolean;
  /** of the last attempt to send */
  error: string | null;
  setOptions(changes: Partial<Options>): void;
  send(prompt: string): boolean;
  regenerate(): void;
  stop(): void;
  clear(): void;
  judge(turn: number, at: number, thumb: 1 | -1): Promise<void>;
};

type Kept = Pick<Chat, 'turns' | 'options' | 'error'>;

const CHANGED = 'attune-chat';
let kept: Kept = { turns: [], options: DEFAULTS, error: null };
let abort = new AbortController();
/** of the turns: no other one gets it, so that what comes late finds its own or none */
let lastId = 0;

function keep(changes: Partial<Kept>): void {
  kept = { ...kept, ...changes };
  window.dispatchEvent(new Event(CHANGED));
}

function changeReply(turn: number, at: number, update: (reply: Reply) => Partial<Reply>): void {
  const turns = kept.turns.map((one) =>
    one.id === turn
      ? { ...one, replies: one.replies.map((reply, index) => (index === at ? { ...reply, ...update(reply) } : reply)) }
      : one,
  );
  keep({ turns });
}

/** `models`: those that are asked, by id; `attune` is the active one. */
export function useChat(models: string[]): Chat {
  const [{ turns, options, error }, setShown] = useState(kept);
  useEffect(() => {
    const follow = () => setShown(kept);
    follow();
    window.addEventListener(CHANGED, follow);
    return () => window.removeEventListener(CHANGED, follow);
  }, []);
  const isWriting = turns.at(-1)?.replies.some(({ state }) => state === 'writing') ?? false;

  /** After `earlier`. False: it cannot be sent. */
  const write = (earlier: Turn[], prompt: string, used: Options): boolean => {
    let bodies: ChatBody[];
    try {
      bodies = models.map((model, at) => toBody(model, earlier, prompt, at, used));
    } catch (thrown) {
      keep({ error: (thrown as Error).message });
      return false;
    }
    const id = ++lastId;
    keep({ turns: [...earlier, { id, prompt, replies: bodies.map(openReply) }], error: null });
    abort = new AbortController();
    for (const [at, body] of bodies.entries())
      void readReply(body, abort.signal, (update) => changeReply(id, at, update));
    return true;
  };

  return {
    turns,
    options,
    isWriting,
    error,
    setOptions: (changes) => keep({ options: { ...kept.options, ...changes } }),
    send: (prompt) => write(turns.filter(isComplete), prompt, options),
    regenerate() {
      const last = turns.at(-1);
      if (!last || isWriting) return;
      // The same seed would give the same text.
      const next = options.seed === '' ? options : { ...options, seed: String(Number(options.seed) + 1) };
      keep({ options: next });
      write(turns.slice(0, -1), last.prompt, next);
    },
    stop: () => abort.abort(),
    clear() {
      abort.abort();
      keep({ turns: [], error: null });
    },
    async judge(turn, at, thumb) {
      const generation = turns.find(({ id }) => id === turn)?.replies[at]?.generation;
      if (!generation) return;
      // The document of the API has only the first of the two literals.
      await ask(api.POST('/v1/feedback', { body: { generation, thumb: thumb as 1 } })).then(
        () => changeReply(turn, at, () => ({ thumb })),
        (thrown) => keep({ error: (thrown as Error).message }),
      );
    },
  };
}

/** A turn that nobody answered is not part of the conversation. */
function isComplete({ replies }: Turn): boolean {
  return replies.some(({ text }) => text !== '');
}

function openReply(body: ChatBody): Reply {
  return {
    body,
    text: '',
    tokens: [],
    state: 'writing',
    error: null,
    generation: null,
    model: null,
    finish: null,
    usage: null,
    firstMs: null,
    totalMs: null,
    thumb: null,
  };
}

type Change = (update: (reply: Reply) => Partial<Reply>) => void;

async function readReply(body: ChatBody, signal: AbortSignal, change: Change): Promise<void> {
  const began = performance.now();
  const passed = () => performance.now() - began;
  let id: string | null = null;
  try {
    const request = { ...body, stream_options: { include_usage: true } };
    for await (const { model, choices, usage } of streamPost<Chunk>('/v1/chat/completions', request, signal)) {
      // With COMPARE_SHARE there may be a second one.
      const choice = choices.find(({ index }) => index === 0);
      id ??= choice?.generation_id ?? null;
      change((reply) => ({
        model,
        usage: usage ?? reply.usage,
        text: reply.text + (choice?.delta.content ?? ''),
        tokens: choice?.logprobs ? [...reply.tokens, ...choice.logprobs.content] : reply.tokens,
        finish: choice?.finish_reason ?? reply.finish,
        firstMs: reply.firstMs ?? (choice?.delta.content ? passed() : null),
      }));
    }
    change(() => ({ state: 'done', generation: id, totalMs: passed() }));
  } catch (error) {
    if (signal.aborted) change(() => ({ state: 'stopped', totalMs: passed() }));
    else change(() => ({ state: 'failed', error: (error as Error).message, totalMs: passed() }));
  }
}
