// Reads the part of a policy's package that serving needs from the store, and verifies each file's SHA-256 and that the
// tokenizer is the policy's.
import { AttuneError } from '../../shared/error.ts';
import { TOKENIZER_FILES } from '../../shared/model/checkpoint-files.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { selectServingWeights } from '../../shared/package/package-use.ts';
import { type PolicyStore, readFile } from '../../shared/store/store.ts';
import { Tokenizer, type TokenizerFiles } from '../../shared/tokenizer/tokenizer.ts';
import { policyUnusable } from '../engine/policy-errors.ts';
import { validateTokenizer } from '../engine/validate-package.ts';
import type { ServingGraph } from './wasm-runtime.ts';

const GRAPH_FILE = 'onnx/serve.onnx';

/** Bytes of the serving graph and of the weights that it reads. */
export function getServingBytes({ files }: Manifest): number {
  return [GRAPH_FILE, selectServingWeights(files)].reduce((sum, name) => sum + (files[name]?.bytes ?? 0), 0);
}

/** `onRead` is called after each file. */
export async function readPackage(
  store: PolicyStore,
  manifest: Manifest,
  onRead: () => void,
): Promise<{ tokenizer: Tokenizer; graph: ServingGraph }> {
  const read = async (name: string) => {
    const bytes = await readFile(store, manifest, name).catch((error: unknown) => {
      if (error instanceof AttuneError) throw error;
      const message = `policy store: reading ${name} from ${store.location} failed (${(error as Error).message}); retry shortly`;
      throw new AttuneError(message, { status: 503, code: 'policy_store_unreachable' });
    });
    onRead();
    return bytes;
  };
  const tokenizer = await openTokenizer(manifest, read);
  const model = await read(GRAPH_FILE);
  const weights = selectServingWeights(manifest.files);
  return { tokenizer, graph: { model, weights: { path: weights.slice('onnx/'.length), data: await read(weights) } } };
}

/** Policies of one family share a tokenizer, which can take tens of megabytes. */
const tokenizerCache = new Map<string, WeakRef<Tokenizer>>();

async function openTokenizer(manifest: Manifest, read: (name: string) => Promise<Uint8Array>): Promise<Tokenizer> {
  const { id, architecture, tokenizer_hash, files } = manifest;
  const present = Object.entries(TOKENIZER_FILES).filter(([, name]) => files[name]);
  const key = present.map(([, name]) => `${name} ${files[name]!.sha256}`).join();
  try {
    const tokenizer = tokenizerCache.get(key)?.deref() ?? (await loadTokenizer(present, read));
    tokenizerCache.set(key, new WeakRef(tokenizer));
    validateTokenizer(tokenizer, architecture, tokenizer_hash);
    return tokenizer;
  } catch (error) {
    // The store's own errors (missing, damaged, unreachable) pass through.
    const isUnusable = error instanceof AttuneError && error.status === 400;
    throw isUnusable ? policyUnusable(id, error.message) : error;
  }
}

async function loadTokenizer(
  files: [key: string, name: string][],
  read: (name: string) => Promise<Uint8Array>,
): Promise<Tokenizer> {
  const texts: Record<string, string> = {};
  for (const [key, name] of files) texts[key] = new TextDecoder().decode(await read(name));
  return Tokenizer.from({ tokenizer: '', ...texts } satisfies TokenizerFiles);
}
