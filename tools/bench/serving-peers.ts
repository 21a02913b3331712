// The serving peers and the preparation of what each loads, always from the same checkpoint. A peer whose tools are not
// installed is skipped with a hint.
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { connect } from '../../shared/database/connect.ts';
import { openPostgres } from '../../shared/database/embedded.ts';
import { migrateDatabase } from '../../shared/database/migrate.ts';
import { openCheckpoint, readCheckpoint } from '../../shared/model/checkpoint.ts';
import { writePolicyGraphs } from '../../shared/onnx/write-graphs.ts';
import type { PrecisionName } from '../../shared/precision-name.ts';
import { importPolicy } from '../../shared/publish/publish.ts';
import { openLocalStoreAt, policiesFolder } from '../../shared/store/local-store.ts';
import { type GgufType, writeGguf } from '../../testing/gguf-writer.ts';
import { type Cache, digestSources } from './cache.ts';
import { writeHubGraph } from './hub-graph.ts';
import type { Model } from './models.ts';
import { findPython, QUANTIZE_ENV, QUANTIZE_SCRIPT, runPython } from './python.ts';
import type { WeightFormat } from './roofline.ts';
import type { PeerProgram } from './run-serving-peer.ts';

export type ServingPeer = {
  name: string;
  program: PeerProgram;
  variant: string;
  weights: WeightFormat;
  /** The peer that computes the same, if its accuracy is measured instead. */
  accuracyOf?: string;
};

const int8 = (bits: number): WeightFormat => ({ bits, arithmetic: 'int8' });
const float32: WeightFormat = { bits: 32, arithmetic: 'float32' };

/** Bits per weight include its share of the scales. */
const WEIGHT_FORMATS: Record<PrecisionName, WeightFormat> = {
  row8: int8(8),
  int8: int8(9),
  int4: int8(6),
  fp32: float32,
};

const attune = (program: 'attune' | 'attune-http', precision: PrecisionName): ServingPeer => ({
  name: `${program}:${precision}`,
  program,
  variant: precision,
  weights: WEIGHT_FORMATS[precision],
  accuracyOf: `attune:${precision}`,
});

export const SERVING_PEERS: ServingPeer[] = [
  attune('attune', 'row8'),
  attune('attune-http', 'row8'),
  { name: 'transformers:q8', program: 'transformers', variant: 'q8', weights: int8(8) },
  { name: 'llama:Q8_0', program: 'llama', variant: 'Q8_0', weights: int8(8.5) },
  {
    name: 'llama-ordered:Q8_0',
    program: 'llama',
    variant: 'Q8_0 ordered',
    weights: int8(8.5),
    accuracyOf: 'llama:Q8_0',
  },
  { name: 'llama:Q4_0', program: 'llama', variant: 'Q4_0', weights: int8(4.5) },
  attune('attune', 'fp32'),
  attune('attune-http', 'fp32'),
  { name: 'transformers:fp32', program: 'transformers', variant: 'fp32', weights: float32 },
  { name: 'llama:F32', program: 'llama', variant: 'F32', weights: float32 },
];

/** Measured only if named. */
export const OPTIONAL_PEERS: ServingPeer[] = (['int8', 'int4'] as const).flatMap((precision) => [
  attune('attune', precision),
  attune('attune-http', precision),
]);

export function findPeer(name: string): ServingPeer {
  const peer = [...SERVING_PEERS, ...OPTIONAL_PEERS].find((peer) => peer.name === name);
  if (!peer) throw new Error(`internal: bench: no peer is named ${name}`);
  return peer;
}

/** Why the peer cannot be measured, or null. */
export function unavailableReason(peer: ServingPeer, cache: Cache): string | null {
  if (peer.name !== 'transformers:q8' || findPython(cache, QUANTIZE_ENV)) return null;
  return 'it needs the quantizer of Python’s onnxruntime; run `npm run bench:serve -- --setup` to install it';
}

/** Builds and returns the file or folder that the peer loads. */
export async function preparePeer({ program, variant }: ServingPeer, cache: Cache, model: Model): Promise<string> {
  if (program === 'llama') return prepareGguf(cache, model, variant.split(' ')[0] as GgufType);
  if (program === 'transformers') return prepareHubModel(cache, model, variant);
  const home = await prepareHome(cache, model, variant as PrecisionName);
  const policies = policiesFolder({ ATTUNE_HOME: home });
  return program === 'attune-http' ? home : path.join(policies, (await readdir(policies))[0]!);
}

/** An ATTUNE_HOME with one policy: the model at this precision, as `attune policies import` creates it. */
async function prepareHome(cache: Cache, model: Model, precision: PrecisionName): Promise<string> {
  const sources = ['shared/model/', 'shared/onnx/', 'shared/onnx/precision/', 'shared/publish/'];
  const version = await digestSources(sources, path.basename(model.folder));
  return cache.build(`${model.name}/attune-${precision}`, version, async (staging) => {
    // Importing needs a database. It is outside the home, because a Postgres data folder cannot be moved.
    const postgres = await openPostgres(path.join(cache.folder, 'import'));
    await migrateDatabase(postgres.url);
    const connection = connect(postgres.url, { name: 'attune bench', max: 2 });
    try {
      const store = await openLocalStoreAt(policiesFolder({ ATTUNE_HOME: staging }));
      const options = { precision, isPrecisionForced: true };
      await importPolicy(connection.db, store, model.folder, model.name, options);
    } finally {
      await connection.close();
      await postgres.leave();
    }
  });
}

async function prepareHubModel(cache: Cache, model: Model, dtype: string): Promise<string> {
  const sources = ['tools/bench/hub-graph.ts', 'tools/bench/quantize.py', 'shared/onnx/', 'shared/onnx/precision/'];
  const folder = await cache.build(
    `${model.name}/hub`,
    await digestSources(sources, path.basename(model.folder)),
    async (staging) => {
      const isWeights = (file: string) => file.includes('.safetensors');
      await cp(model.folder, staging, { recursive: true, filter: (from) => !isWeights(from) });
      const { architecture, weights } = await readCheckpoint(model.folder);
      await mkdir(path.join(staging, 'onnx'));
      // GroupQueryAttention requires a head size that is a multiple of 16; for others the hub has the plain graph too.
      const isFused = architecture.family === 'llama' && architecture.headDim % 16 === 0;
      if (isFused) await writeHubGraph(path.join(staging, 'onnx'), architecture, weights);
      else await writePolicyGraphs(staging, architecture, weights);
    },
  );
  const onnx = path.join(folder, 'onnx');
  if (dtype === 'q8' && !existsSync(path.join(onnx, 'model_quantized.onnx'))) {
    // Of the two weight types in transformers.js's conversion script, QInt8 is faster for this graph.
    await runPython(cache, QUANTIZE_ENV, [QUANTIZE_SCRIPT, onnx, 'QInt8']);
  }
  return folder;
}

async function prepareGguf(cache: Cache, model: Model, type: GgufType): Promise<string> {
  const name = `${model.name}/gguf-${type}`;
  const folder = await cache.build(
    name,
    await digestSources(['testing/gguf-writer.ts', 'testing/gguf-blocks.ts'], path.basename(model.folder)),
    async (staging) => {
      const { architecture, weights } = await openCheckpoint(model.folder);
      await writeGguf(path.join(staging, 'model.gguf'), architecture, weights, { type });
    },
  );
  return path.join(folder, 'model.gguf');
}
