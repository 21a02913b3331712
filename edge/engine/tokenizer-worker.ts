// The tokenizer thread: renders and tokenizes prompts, because a long one takes seconds, and because a checkpoint's chat
// template and regular expressions are untrusted and may never end. The main thread ends this thread if they do not.
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import type { Prompt } from '../../shared/chat-message.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { encodePair, encodePrompt } from './encode-prompt.ts';
import type { EncodedPrompt } from './inference.ts';
import type { TokenizerMessage, TokenizerRequest } from './tokenizer-protocol.ts';
import { NICENESS } from './worker-protocol.ts';

/** Of the active policy, two in standby and one that drains. Scorers mostly share theirs; another is opened again. */
const MAX_TOKENIZERS = 4;
const WARM_UP: Prompt = [{ role: 'user', content: 'Once upon a time, 1 day' }];

const port = parentPort!;
const post = (message: TokenizerMessage) => port.postMessage(message);
const tokenizers = new LRUCache<string, Tokenizer>({ max: MAX_TOKENIZERS });

if (process.platform === 'linux') setPriority(NICENESS);

port.on('message', async (request: TokenizerRequest) => {
  try {
    const tokenizer = tokenizers.get(request.key) ?? (await open(request));
    post({ type: 'encoded', encoded: request.prompt ? encode(tokenizer, request.prompt, request) : warmUp(tokenizer) });
  } catch (error) {
    const message = getErrorMessage(error);
    if (!(error instanceof AttuneError)) return post({ type: 'failed', message });
    const { status, param, code, retry, retryAfterMs } = error;
    post({ type: 'failed', message, details: { status, param, code, retry, retryAfterMs } });
  }
});

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
    return { promptIds: [], sharedLength: 0 };
  }
}
