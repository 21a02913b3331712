// Who takes part, and what each loads: all of it made from one checkpoint. A contender whose tools are not there says how
// to get them and stays away.
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { connect } from '../../shared/database/connect.ts';
import { openPostgres } from '../../shared/database/embedded.ts';
import { migrateDatabase } from '../../shared/database/migrate.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { writePolicyGraphs } from '../../shared/onnx/write-graphs.ts';
import type { PrecisionName } from '../../shared/precision-name.ts';
import { importPolicy } from '../../shared/publish/publish.ts';
import { openLocalStoreAt, policiesFolder } from '../../shared/store/local-store.ts';
import { type Cache, digestSources } from './cache.ts';
import type { Storage } from './floor.ts';
import { type GgufType, writeGguf } from './gguf.ts';
import { writeHubGraph } from './hub-graph.ts';
import type { Model } from './models.ts';
import { findPython, QUANTIZER, QUANTIZING, runPython } from './python.ts';
import type { PeerProgram } from './run-peer.ts';

export type Contender = { name: string; program: PeerProgram; variant: string; storage: Storage };

const int8 = (bits: number): Storage => ({ bits, arithmetic: 'int8' });
const float32: Storage = { bits: 32, arithmetic: 'float32' };

/** Bits of a weight count its share of scales. */
const PRECISIONS: Record<PrecisionName, Storage> = { row8: int8(8), int8: int8(9), int4: int8(5), fp32: float32 };

const attune = (program: 'attune' | 'attune-http', precision: PrecisionName): Contender => ({
  name: `${program}:${precision}`,
  program,
  variant: precision,
  storage: PRECISIONS[precision],
});

export const CONTENDERS: Contender[] = [
  attune('attune', 'row8'),
  attune('attune-http', 'row8'),
  { name: 'transformers:q8', program: 'transformers', variant: 'q8', storage: int8(8) },
  { name: 'llama:Q8_0', program: 'llama', variant: 'Q8_0', storage: int8(8.5) },
  { name: 'llama-ordered:Q8_0', program: 'llama', variant: 'Q8_0 ordered', storage: int8(8.5) },
  { name: 'llama:Q4_0', program: 'llama', variant: 'Q4_0', storage: int8(4.5) },
  attune('attune', 'fp32'),
  attune('attune-http', 'fp32'),
  { name: 'transformers:fp32', program: 'transformers', variant: 'fp32', storage: float32 },
  { name: 'llama:F32', program: 'llama', variant: 'F32', storage: float32 },
];

/** Known, but only measured where they are named. */
export const FURTHER: Contender[] = (['int8', 'int4'] as const).flatMap((precision) => [
  attune('attune', precision),
  attune('attune-http', precision),
]);

/** Why it cannot take part, or null. */
export function whyAbsent(contender: Contender, cache: Cache): string | null {
  if (contender.name !== 'transformers:q8' || findPython(cache, QUANTIZING)) return null;
  return 'its quantizer is Python’s onnxruntime; `npm run bench:serve -- --setup` installs it into the cache folder';
}

/** The file or folder that the contender loads. */
export async function prepare({ program, variant }: Contender, cache: Cache, model: Model): Promise<string> {
  if (program === 'llama') return prepareGguf(cache, model, variant.split(' ')[0] as GgufType);
  if (program === 'transformers') return prepareHubModel(cache, model, variant);
  const home = await prepareHome(cache, model, variant as PrecisionName);
  const policies = policiesFolder({ ATTUNE_HOME: home });
  return program === 'attune-http' ? home : path.join(policies, (await readdir(policies))[0]!);
}

/** The home of an Attune whose one policy is the model at this precision, as `attune policies import` makes it. */
async function prepareHome(cache: Cache, model: Model, precision: PrecisionName): Promise<string> {
  const sources = ['shared/model/', 'shared/onnx/', 'shared/onnx/precision/', 'shared/publish/'];
  const version = await digestSources(sources, path.basename(model.folder));
  return cache.make(`${model.name}/attune-${precision}`, version, async (draft) => {
    // Importing wants a database. It is not the home's own, because a Postgres does not move with its folder.
    const postgres = await openPostgres(path.join(cache.folder, 'import'));
    await migrateDatabase(postgres.url);
    const connection = connect(postgres.url, { name: 'attune bench', max: 2 });
    try {
      const shelf = await openLocalStoreAt(policiesFolder({ ATTUNE_HOME: draft }));
      const options = { precision, isPrecisionForced: true };
      await importPolicy(connection.db, shelf, model.folder, model.name, options);
    } finally {
      await connection.close();
      await postgres.leave();
    }
  });
}

async function prepareHubModel(cache: Cache, model: Model, dtype: string): Promise<string> {
  const sources = ['tools/bench/hub-graph.ts', 'tools/bench/quantize.py', 'shared/onnx/', 'shared/onnx/model-graph.ts'];
  const folder = await cache.make(
    `${model.name}/hub`,
    await digestSources(sources, path.basename(model.folder)),
    async (draft) => {
      const isWeights = (file: string) => file.includes('.safetensors');
      await cp(model.folder, draft, { recursive: true, filter: (from) => !isWeights(from) });
      const { architecture, weights } = await readCheckpoint(model.folder);
      await mkdir(path.join(draft, 'onnx'));
      // The fused attention is for heads of whole vectors; for others the hub too has the plain graph.
      const isFused = architecture.family === 'llama' && architecture.headDim % 16 === 0;
      if (isFused) await writeHubGraph(path.join(draft, 'onnx'), architecture, weights);
      else await writePolicyGraphs(draft, architecture, weights);
    },
  );
  const onnx = path.join(folder, 'onnx');
  if (dtype === 'q8' && !existsSync(path.join(onnx, 'model_quantized.onnx'))) {
    // Signed weights, which for this graph were the faster of the two that transformers.js's own script chooses from.
    await runPython(cache, QUANTIZING, [QUANTIZER, onnx, 'QInt8']);
  }
  return folder;
}

async function prepareGguf(cache: Cache, model: Model, type: GgufType): Promise<string> {
  const name = `${model.name}/gguf-${type}`;
  const folder = await cache.make(
    name,
    await digestSources(['tools/bench/gguf.ts'], path.basename(model.folder)),
    async (draft) => {
      const { architecture, weights } = await readCheckpoint(model.folder);
      await writeGguf(path.join(draft, 'model.gguf'), architecture, weights, type);
    },
  );
  return path.join(folder, 'model.gguf');
}
