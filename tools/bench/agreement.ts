// Before anything is timed: at float32 all peers must say the same, or one of them computes another model. A rotation in
// the wrong order, a transposed matrix or a mask off by one costs no time and would pass for speed.
import type { Cache } from './cache.ts';
import { CONTENDERS, type Contender, prepare } from './contenders.ts';
import type { Model } from './models.ts';
import { runPeer } from './run-peer.ts';

/** "Once upon a time", as stories15M and every Llama with that vocabulary have it. */
const PROMPT = [1, 9038, 2501, 263, 931];
const TOKENS = 48;

export type Agreement = { peers: string[]; tokens: number; differing: string[] };

/** Greedy continuations of one prompt by each float32 peer, held against the first's. For stories15M. */
export async function checkAgreement(cache: Cache, model: Model, threads: number): Promise<Agreement> {
  const said = new Map<string, string>();
  const peers = CONTENDERS.filter(isFloat32);
  for (const contender of peers) {
    const source = await prepare(contender, cache, model);
    const batch = { prompts: [PROMPT], tokens: TOKENS };
    const { streams } = await runPeer(contender.program, {
      source,
      variant: contender.variant,
      threads,
      warmUp: null,
      batch,
    });
    said.set(contender.name, streams[0]!.tokenIds.join(' '));
  }
  const [first] = said.values();
  const differing = [...said].filter(([, ids]) => ids !== first).map(([name, ids]) => `${name}: ${ids}`);
  return { peers: peers.map(({ name }) => name), tokens: TOKENS, differing };
}

/** Over HTTP no token ids come back. */
function isFloat32({ program, storage }: Contender): boolean {
  return storage.arithmetic === 'float32' && program !== 'attune-http';
}
