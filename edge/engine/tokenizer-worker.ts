// The tokenizer thread: renders and tokenizes prompts, because a long one takes seconds, and because a checkpoint's chat
// template and regular expressions are untrusted and may never end. The main thread ends this thread if they do not. It also
// compiles the schemas of clients.
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import type { Prompt } from '../../shared/chat-message.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { compileJsonSchema } from '../grammar/json-schema.ts';
import type { Grammar } from '../grammar/program.ts';
import { encodePair, encodePrompt } from './encode-prompt.ts';
import type { EncodedPrompt } from './inference.ts';
import type { SchemaRequest, TokenizerMessage, TokenizerRequest } from './tokenizer-protocol.ts';
import { NICENESS } from './worker-protocol.ts';

/** Of the active policy, two in standby and one that drains. Scorers mostly share theirs; another is opened again. */
const MAX_TOKENIZERS = 4;
/** A client sends the same few with every request. */
const MAX_GRAMMARS = 16;
const WARM_UP: Prompt = [{ role: 'user', content: 'Once upon a time, 1 day' }];

const port = parentPort!;
const post = (message: TokenizerMessage) => port.postMessage(message);
const tokenizers = new LRUCache<string, Tokenizer>({ max: MAX_TOKENIZERS });
const grammars = new LRUCache<string, Grammar>({ max: MAX_GRAMMARS });

if (process.platform === 'linux') setPriority(NICENESS);

port.on('message', async (request: TokenizerRequest | SchemaRequest) => {
  try {
    if ('schema' in request) return post({ type: 'compiled', grammar: compile(request) });
    const tokenizer = tokenizers.get(request.key) ?? (await open(request));
    post({ type: 'encoded', encoded: request.prompt ? encode(tokenizer, request.prompt, request) : warmUp(tokenizer) });
  } catch (error) {
    const message = getErrorMessage(error);
    if (!(error instanceof AttuneError)) return post({ type: 'failed', message });
    const { status, param, code, retry, retryAfterMs } = error;
    post({ type: 'failed', message, details: { status, param, code, retry, retryAfterMs } });
  }
});

function compile({ schema, path }: SchemaRequest): Grammar {
  post({ type: 'phase', phase: 'compile' });
  const key = JSON.stringify(schema);
  const grammar = grammars.get(key) ?? compileJsonSchema(schema, path);
  grammars.set(key, grammar);
  return grammar;
}

async function open({ folder, key }: TokenizerRequest): Promise<Tokenizer> {
  post({ type: 'phase', phase: 'open' });
  const tokenizer = await Tokenizer.open(folder);
  tokenizers.set(key, tokenizer);
  return tokenizer;
}

function encode(
  tokenizer: Tokenizer,
  prompt: Prompt,
  { response, contextLength }: Pick<TokenizerRequest, 'response' | 'contextLength'>,
): EncodedPrompt {
  post({ type: 'phase', phase: 'render' });
  const onRendered = () => post({ type: 'phase', phase: 'encode' });
  return response
    ? encodePair(tokenizer, prompt, response, contextLength, onRendered)
    : encodePrompt(tokenizer, prompt, contextLength, onRendered);
}

/** A template may reject this chat and accept others. */
function warmUp(tokenizer: Tokenizer): EncodedPrompt {
  try {
    return encode(tokenizer, WARM_UP, { contextLength: Number.MAX_SAFE_INTEGER });
  } catch {
    return { promptIds: [], sharedLengths: [] };
  }
}
