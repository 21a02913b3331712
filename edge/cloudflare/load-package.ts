// What a Worker needs of a policy's package, read from the store and checked: each file against its SHA-256, and the
// tokenizer against the policy. Files that it does not serve from are neither read nor counted.
import { AttuneError } from '../../shared/error.ts';
import { TOKENIZER_FILES } from '../../shared/model/checkpoint-files.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { type PolicyStore, readFile } from '../../shared/store/store.ts';
import { Tokenizer, type TokenizerFiles } from '../../shared/tokenizer/tokenizer.ts';
import { policyUnusable, validateTokenizer } from '../engine/validate-package.ts';
import type { ServingGraph } from './wasm-runtime.ts';

const GRAPH_FILE = 'onnx/serve.onnx';
/** A serving graph has weights of its own, unless it is the float32 one, which shares them with model.onnx. */
const WEIGHTS_FILE = 'onnx/serve.onnx_data';
const SHARED_WEIGHTS_FILE = 'onnx/model.onnx_data';

/** Bytes of the serving graph and of the weights that it reads. */
export function getServingBytes({ files }: Manifest): number {
  return [GRAPH_FILE, selectWeightsFile(files)].reduce((sum, name) => sum + (files[name]?.bytes ?? 0), 0);
}

/** `onRead` is told of each file that has come. */
export async function readPackage(
  store: PolicyStore,
  manifest: Manifest,
  onRead: () => void,
): Promise<{ tokenizer: Tokenizer; graph: ServingGraph }> {
  const take = async (name: string) => {
    const bytes = await readFile(store, manifest, name).catch((error: unknown) => {
      if (error instanceof AttuneError) throw error;
      const message = `policy store: ${store.location} broke off in ${name} (${(error as Error).message}); try again shortly`;
      throw new AttuneError(message, { status: 503, code: 'policy_store_unreachable' });
    });
    onRead();
    return bytes;
  };
  const tokenizer = await openTokenizer(manifest, take);
  const model = await take(GRAPH_FILE);
  const weights = selectWeightsFile(manifest.files);
  return { tokenizer, graph: { model, weights: { path: weights.slice('onnx/'.length), data: await take(weights) } } };
}

/** Policies of one family share a tokenizer, and a large one is tens of megabytes. */
const tokenizerCache = new Map<string, WeakRef<Tokenizer>>();

async function openTokenizer(manifest: Manifest, take: (name: string) => Promise<Uint8Array>): Promise<Tokenizer> {
  const { id, architecture, tokenizer_hash, files } = manifest;
  const there = Object.entries(TOKENIZER_FILES).filter(([, name]) => files[name]);
  const key = there.map(([, name]) => `${name} ${files[name]!.sha256}`).join();
  try {
    const tokenizer = tokenizerCache.get(key)?.deref() ?? (await loadTokenizer(there, take));
    tokenizerCache.set(key, new WeakRef(tokenizer));
    validateTokenizer(tokenizer, architecture, tokenizer_hash);
    return tokenizer;
  } catch (error) {
    // What the store says of itself (missing, damaged, out of reach) stays as it is.
    const isUnfit = error instanceof AttuneError && error.status === 400;
    throw isUnfit ? policyUnusable(id, error.message) : error;
  }
}

async function loadTokenizer(
  there: [key: string, name: string][],
  take: (name: string) => Promise<Uint8Array>,
): Promise<Tokenizer> {
  const texts: Record<string, string> = {};
  for (const [key, name] of there) texts[key] = new TextDecoder().decode(await take(name));
  return Tokenizer.from({ tokenizer: '', ...texts } satisfies TokenizerFiles);
}

function selectWeightsFile(files: Manifest['files']): string {
  return files[WEIGHTS_FILE] ? WEIGHTS_FILE : SHARED_WEIGHTS_FILE;
}
