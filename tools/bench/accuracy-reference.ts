// The float32 reference of accuracy: the texts as tokens, the model's own sampled here, and Attune's float32 logits of them.
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import path from 'node:path';
import { seedRandom } from '../../shared/decoder/random.ts';
import { NEUTRAL_SAMPLING, sampleToken } from '../../shared/decoder/sampling.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { LOGITS_FILE, type LogitsPeer, logSumExp, SEQUENCES_FILE } from './accuracy.ts';
import { encodePassages, encodePrompts, RESPONSE_TOKENS, type Sequence } from './accuracy-text.ts';
import { openAttuneLogits } from './attune-logits.ts';
import { type Cache, digestSources } from './cache.ts';
import type { Model } from './models.ts';
import { findPeer, preparePeer } from './serving-peers.ts';

const SOURCES = ['tools/bench/accuracy-reference.ts', 'tools/bench/attune-logits.ts', 'shared/decoder/'];

/** A folder with the sequences and the logits of their responses at float32. */
export async function prepareReference(cache: Cache, model: Model, threads: number): Promise<string> {
  const policy = await preparePeer(findPeer('attune:fp32'), cache, model);
  const { contextLength } = await readArchitecture(model.folder);
  const prompts = (await encodePrompts(model.folder)).map((ids) => ids.slice(0, contextLength >> 1));
  const passages = await encodePassages(model.folder, contextLength);
  // Kernels, and with them last digits, differ between processors.
  const input = JSON.stringify([path.relative(cache.folder, policy), prompts, passages, cpus()[0]?.model]);
  return cache.build(`${model.name}/accuracy`, await digestSources(SOURCES, input), async (staging) => {
    const peer = await openAttuneLogits(policy, threads);
    const file = await open(path.join(staging, LOGITS_FILE), 'w');
    try {
      const { eos } = await Tokenizer.open(model.folder);
      const sequences: Sequence[] = [];
      for (const [at, promptIds] of prompts.entries()) {
        const maxTokens = Math.min(RESPONSE_TOKENS, contextLength - promptIds.length);
        const random = seedRandom(1, at);
        const responseIds = await recordResponse(peer, file, promptIds, (logits, ids) => {
          const isComplete = ids.length === maxTokens || eos.includes(ids.at(-1) ?? -1);
          return isComplete ? null : sampleToken(logits, logSumExp(logits), NEUTRAL_SAMPLING, new Map(), random);
        });
        sequences.push({ text: 'own', promptIds, responseIds });
      }
      for (const passage of passages) {
        await recordResponse(peer, file, passage.promptIds, (_, ids) => passage.responseIds[ids.length] ?? null);
        sequences.push(passage);
      }
      await writeFile(path.join(staging, SEQUENCES_FILE), JSON.stringify(sequences));
    } finally {
      await file.close();
      await peer.close();
    }
  });
}

/** Feeds the prompt and then each token that `choose` returns, until it returns null; appends the logits before each. */
async function recordResponse(
  peer: LogitsPeer,
  file: FileHandle,
  promptIds: number[],
  choose: (logits: Float32Array, responseIds: number[]) => number | null,
): Promise<number[]> {
  const feed = await peer.startSequence();
  const responseIds: number[] = [];
  let logits = await feed(promptIds);
  for (let token = choose(logits, responseIds); token !== null; token = choose(logits, responseIds)) {
    await file.write(logits);
    responseIds.push(token);
    logits = await feed([token]);
  }
  return responseIds;
}
