// The conversation: it is sent, streamed, stopped, generated again and judged. It stays while one looks at another view.

import { useEffect, useRef, useState } from 'preact/hooks';
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

const kept: { turns: Turn[]; options: Options } = { turns: [], options: DEFAULTS };

/** `models`: those that are asked, by id; `attune` is the active one. */
export function useChat(models: string[]): Chat {
  const [turns, setTurns] = useState(kept.turns);
  const [options, setOptions] = useState(kept.options);
  const [error, setError] = useState<string | null>(null);
  const abort = useRef<AbortController | null>(null);
  kept.turns = turns;
  kept.options = options;
  useEffect(() => () => abort.current?.abort(), []);
  const isWriting = turns.at(-1)?.replies.some(({ state }) => state === 'writing') ?? false;

  const change = (turn: number, at: number, update: (reply: Reply) => Partial<Reply>) =>
    setTurns((before) =>
      before.map((one) =>
        one.id === turn
          ? {
              ...one,
              replies: one.replies.map((reply, index) => (index === at ? { ...reply, ...update(reply) } : reply)),
            }
          : one,
      ),
    );

  /** After `earlier`. False: it cannot be sent. */
  const write = (earlier: Turn[], prompt: string, used: Options): boolean => {
    let bodies: ChatBody[];
    try {
      bodies = models.map((model, at) => toBody(model, earlier, prompt, at, used));
    } catch (thrown) {
      setError((thrown as Error).message);
      return false;
    }
    setError(null);
    const turn: Turn = { id: (earlier.at(-1)?.id ?? 0) + 1, prompt, replies: bodies.map(openReply) };
    setTurns([...earlier, turn]);
    const controller = new AbortController();
    abort.current = controller;
    for (const [at, body] of bodies.entries())
      void readReply(body, controller.signal, (update) => change(turn.id, at, update));
    return true;
  };

  return {
    turns,
    options,
    isWriting,
    error,
    setOptions: (changes) => setOptions((before) => ({ ...before, ...changes })),
    send: (prompt) => write(turns.filter(isComplete), prompt, options),
    regenerate() {
      const last = turns.at(-1);
      if (!last || isWriting) return;
      // The same seed would give the same text.
      const next = options.seed === '' ? options : { ...options, seed: String(Number(options.seed) + 1) };
      setOptions(next);
      write(turns.slice(0, -1), last.prompt, next);
    },
    stop: () => abort.current?.abort(),
    clear() {
      abort.current?.abort();
      setTurns([]);
      setError(null);
    },
    async judge(turn, at, thumb) {
      const generation = turns.find(({ id }) => id === turn)?.replies[at]?.generation;
      if (!generation) return;
      // The document of the API has only the first of the two literals.
      await ask(api.POST('/v1/feedback', { body: { generation, thumb: thumb as 1 } })).then(
        () => change(turn, at, () => ({ thumb })),
        (thrown) => setError((thrown as Error).message),
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
