// The accuracy of a serving peer on a model, measured in the peer's own process and kept.
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Accuracy } from './accuracy.ts';
import { prepareReference } from './accuracy-reference.ts';
import { type Cache, digestSources } from './cache.ts';
import type { Model } from './models.ts';
import { type PeerProgram, runServingPeer } from './run-serving-peer.ts';
import { findPeer, preparePeer, type ServingPeer } from './serving-peers.ts';

/** Nothing is timed, and threads that wait for each other take minutes where other programs run. */
const THREADS = 1;
const RUNTIMES: Record<PeerProgram, string> = {
  attune: 'onnxruntime-node',
  'attune-http': 'onnxruntime-node',
  transformers: '@huggingface/transformers',
  llama: 'node-llama-cpp',
};
const ACCURACY_FILE = 'accuracy.json';

export async function findAccuracy(cache: Cache, model: Model, peer: ServingPeer): Promise<Accuracy> {
  const measured = findPeer(peer.accuracyOf ?? peer.name);
  const { name, program, variant } = measured;
  const source = await preparePeer(measured, cache, model);
  const reference = await prepareReference(cache, model, THREADS);
  const input = [reference, source].map((file) => path.relative(cache.folder, file)).join();
  const runtime = `node_modules/${RUNTIMES[program]}/package.json`;
  const sources = ['tools/bench/accuracy.ts', `tools/bench/peers/${program}.ts`, 'shared/decoder/', runtime];
  const version = await digestSources(sources, input);
  const folder = await cache.build(`${model.name}/accuracy-${name}`, version, async (staging) => {
    const accuracy = await runServingPeer(program, { source, variant, threads: THREADS, reference });
    await writeFile(path.join(staging, ACCURACY_FILE), JSON.stringify(accuracy));
  });
  return JSON.parse(await readFile(path.join(folder, ACCURACY_FILE), 'utf8'));
}
