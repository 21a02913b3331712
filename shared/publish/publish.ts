// Builds a package of a policy or a reward from weights and a tokenizer, validates and publishes it: files first, then its
// row. A policy can be requested only once its row exists, and its folder is renamed into place only when complete.

import { existsSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Database } from '../database/connect.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import type { Architecture } from '../model/architecture.ts';
import { type OpenCheckpoint, openCheckpoint, readJson, writeJson } from '../model/checkpoint.ts';
import { CHECKPOINT_FILES } from '../model/checkpoint-files.ts';
import { toCheckpointTensors } from '../model/checkpoint-tensors.ts';
import { toRewardFields } from '../model/config.ts';
import { writeSafetensors } from '../model/safetensors.ts';
import { type LazyWeights, validateWeights } from '../model/tensor.ts';
import { writePolicyGraphs, writeRewardGraph } from '../onnx/write-graphs.ts';
import { hashFiles, readManifest, writeManifest } from '../package/files.ts';
import type { Manifest } from '../package/manifest.ts';
import type { PrecisionName } from '../precision-name.ts';
import type { LocalStore } from '../store/local-store.ts';
import { type PolicyRow, registerPolicy } from '../store/registry.ts';
import { Tokenizer } from '../tokenizer/tokenizer.ts';
import { type PublishListener, reportReads } from './progress.ts';
import { selectPrecision } from './select-precision.ts';

export type PublishOptions = {
  store: LocalStore;
  /** Inserts the policy's row, which makes it known. */
  register(row: Parameters<typeof registerPolicy>[1]): Promise<PolicyRow>;
  name: string;
  /** Folder with config.json and the tokenizer's files: a policy's, also for a reward. */
  sourceFolder: string;
  /** Its output says whether this is a policy or a reward. */
  architecture: Architecture;
  weights: LazyWeights;
  provenance: Pick<
    Manifest,
    'parent' | 'reference' | 'objective' | 'pairs' | 'metrics' | 'intervals' | 'source' | 'license'
  >;
  /** Precision of a policy's serving graph, or the next better one if this one loses too much. Default: row8. */
  precision?: PrecisionName;
  /** Use `precision` regardless of its loss. */
  isPrecisionForced?: boolean;
  /** Throws if the complete package in `folder` must not be published. */
  validate?(folder: string): Promise<void>;
  /** Called between the parts of the work and for each tensor; what it throws ends publishing, as a failure. */
  onProgress?: PublishListener;
};

/**
 * On failure nothing remains, but if the row could not be written, a package that nothing refers to: whether it was written
 * may be unknown, and a row without its package would be worse.
 */
export async function publishPackage(options: PublishOptions): Promise<PolicyRow> {
  const { store, register, name, sourceFolder, architecture, weights, provenance, onProgress = () => {} } = options;
  const begin = (stage: string) => onProgress({ stage, done: 0, total: 1 });
  const kind = architecture.output === 'reward' ? 'reward' : 'policy';
  const id = newId(kind === 'reward' ? 'rwd_' : 'pol_');
  const staging = await store.createStaging();
  try {
    for (const file of CHECKPOINT_FILES)
      if (existsSync(path.join(sourceFolder, file)))
        await copyFile(path.join(sourceFolder, file), path.join(staging, file));
    const reported = reportReads(weights, 'writing model.safetensors', onProgress);
    await writeSafetensors(path.join(staging, 'model.safetensors'), toCheckpointTensors(architecture, reported));
    const serving = await (kind === 'reward' ? writeReward : writePolicy)(staging, { ...options, onProgress });
    begin('computing the digests');
    const manifest: Manifest = {
      format: 1,
      kind,
      id,
      name,
      ...provenance,
      architecture,
      serving,
      tokenizer_hash: (await Tokenizer.open(staging)).hash,
      files: await hashFiles(staging),
      created_at: new Date().toISOString(),
    };
    await writeManifest(staging, manifest);
    await store.publish(staging, id, () => begin('publishing'));
    return await register({
      id,
      kind,
      name,
      parent_id: provenance.parent,
      reference_id: provenance.reference,
      manifest,
    });
  } catch (error) {
    await store.discardStaging(staging);
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
      throw new AttuneError('policies: the disk is full; nothing was published; free some space and retry', {
        status: 507,
        code: 'disk_full',
      });
    throw error;
  }
}

type Writing = PublishOptions & { onProgress: PublishListener };

async function writePolicy(folder: string, options: Writing): Promise<Manifest['serving']> {
  const { architecture, weights, precision = 'row8', isPrecisionForced, onProgress } = options;
  await writePolicyGraphs(folder, architecture, reportReads(weights, 'writing model.onnx', onProgress));
  await options.validate?.(folder);
  const onnx = path.join(folder, 'onnx');
  return selectPrecision(onnx, architecture, weights, precision, isPrecisionForced, onProgress);
}

async function writeReward(
  folder: string,
  { architecture, weights, validate, onProgress }: Writing,
): Promise<Manifest['serving']> {
  const config = path.join(folder, 'config.json');
  await writeJson(config, { ...(await readJson(config, 'config.json'))!, ...toRewardFields(architecture) });
  await writeRewardGraph(folder, architecture, reportReads(weights, 'writing reward.onnx', onProgress));
  await validate?.(folder);
  return { precision: 'fp32', accuracy: {} };
}

/** Rewrites the graphs of a copied package at another precision. The copy gets a new id, with the original as parent. */
export async function changePrecision(
  folder: string,
  precision: PrecisionName,
  onProgress: PublishListener = () => {},
): Promise<Manifest> {
  const before = await readManifest(folder);
  const { architecture, weights } = await openCheckpoint(folder);
  await validateWeights(reportReads(weights, 'checking the weights', onProgress));
  const onnx = path.join(folder, 'onnx');
  await rm(onnx, { recursive: true });
  await writePolicyGraphs(folder, architecture, reportReads(weights, 'writing model.onnx', onProgress));
  const manifest: Manifest = {
    ...before,
    id: newId('pol_'),
    parent: before.id,
    serving: await selectPrecision(onnx, architecture, weights, precision, true, onProgress),
    files: await hashFiles(folder),
    created_at: new Date().toISOString(),
  };
  await writeManifest(folder, manifest);
  return manifest;
}

export type ImportOptions = Pick<PublishOptions, 'precision' | 'isPrecisionForced' | 'onProgress'> & {
  /** Manifest fields that record the origin. */
  origin?: Pick<Manifest, 'source' | 'license'>;
  /** Of which the folder has only the config and the tokenizer; default: the folder is a checkpoint. */
  checkpoint?: OpenCheckpoint;
};

/** Publishes a checkpoint in Hugging Face layout and returns the policy's id. */
export async function importPolicy(
  db: Database,
  store: LocalStore,
  folder: string,
  name: string,
  options: ImportOptions = {},
): Promise<string> {
  const { origin = { source: `imported: ${name}` }, checkpoint, onProgress = () => {}, ...precision } = options;
  const { architecture, weights } = checkpoint ?? (await openCheckpoint(folder));
  // Before anything is written.
  await validateWeights(reportReads(weights, 'checking the weights', onProgress));
  const { id } = await publishPackage({
    store,
    register: (row) => registerPolicy(db, row),
    name,
    sourceFolder: folder,
    architecture,
    weights,
    ...precision,
    provenance: { parent: null, reference: null, objective: null, pairs: null, metrics: {}, ...origin },
    onProgress,
  });
  return id;
}
