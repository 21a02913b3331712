// Checks before timing that all float32 peers generate the same tokens. A wrong rotation order, a transposed matrix or a
// mask that is off by one would otherwise pass for a speed difference.
import type { Cache } from './cache.ts';
import type { Model } from './models.ts';
import { runServingPeer } from './run-serving-peer.ts';
import { preparePeer, SERVING_PEERS } from './serving-peers.ts';

/** "Once upon a time" in Llama 2's vocabulary. */
const PROMPT_IDS = [1, 9038, 2501, 263, 931];
const TOKENS = 48;

export type OutputComparison = { peers: string[]; tokens: number; differing: string[] };

/** Compares the greedy continuations of each float32 peer with the first peer's, for stories15M. */
export async function compareOutputs(cache: Cache, model: Model, threads: number): Promise<OutputComparison> {
  const outputs = new Map<string, string>();
  // attune-http is left out: no token ids are returned over HTTP.
  const peers = SERVING_PEERS.filter(
    ({ program, weights }) => weights.arithmetic === 'float32' && program !== 'attune-http',
  );
  for (const peer of peers) {
    const source = await preparePeer(peer, cache, model);
    const batch = { prompts: [PROMPT_IDS], tokens: TOKENS };
    const plan = { source, variant: peer.variant, threads, kvBytes: 0, warmUp: null, batch };
    const { streams } = await runServingPeer(peer.program, plan);
    outputs.set(peer.name, streams[0]!.tokenIds.join(' '));
  }
  const [first] = outputs.values();
  const differing = [...outputs].filter(([, ids]) => ids !== first).map(([name, ids]) => `${name}: ${ids}`);
  return { peers: peers.map(({ name }) => name), tokens: TOKENS, differing };
}
