// Makes a policy package out of weights and a tokenizer, checks it, and publishes it: files first, then its row.
// Until the row is there nobody can ask for it, and until the folder is renamed nobody can see it.

import { existsSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Database } from '../database/connect.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import type { Architecture } from '../model/architecture.ts';
import { readCheckpoint } from '../model/checkpoint.ts';
import { toCheckpointTensors } from '../model/checkpoint-tensors.ts';
import { type Weights, writeSafetensors } from '../model/safetensors.ts';
import { writePolicyGraphs } from '../onnx/write-graphs.ts';
import { hashFiles, readManifest, writeManifest } from '../package/files.ts';
import type { Manifest } from '../package/manifest.ts';
import type { PrecisionName } from '../precision-name.ts';
import type { LocalStore } from '../store/local-store.ts';
import { registerPolicy } from '../store/registry.ts';
import { Tokenizer } from '../tokenizer/tokenizer.ts';
import { choosePrecision } from './select-precision.ts';

/** What goes into a package unchanged from the checkpoint or policy that it comes from. */
const KEPT = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'special_tokens_map.json',
];

export type PublishOptions = {
  shelf: LocalStore;
  db: Database;
  name: string;
  /** folder with config.json and the tokenizer's files */
  sourceFolder: string;
  architecture: Architecture;
  weights: Weights;
  provenance: Pick<Manifest, 'parent' | 'reference' | 'objective' | 'pairs' | 'metrics' | 'source' | 'license'>;
  roundId?: string;
  /** What to serve it at; a better one is taken where this harms the policy. row8 unless told. */
  precision?: PrecisionName;
  /** Take the precision whatever it does to the policy. */
  isPrecisionForced?: boolean;
  /** Looks at the finished draft and throws where it must not be offered. */
  validate?(folder: string): Promise<void>;
};

/** Publishes and returns the new policy's id. Nothing of it stays where anything fails. */
export async function publishPolicy(publication: PublishOptions): Promise<string> {
  const { shelf, db, name, sourceFolder, architecture, weights, provenance } = publication;
  const id = newId('pol_');
  const draft = await shelf.createStaging();
  try {
    for (const file of KEPT)
      if (existsSync(path.join(sourceFolder, file)))
        await copyFile(path.join(sourceFolder, file), path.join(draft, file));
    await writeSafetensors(path.join(draft, 'model.safetensors'), toCheckpointTensors(architecture, weights));
    await writePolicyGraphs(draft, architecture, weights);
    await publication.validate?.(draft);
    const { precision = 'row8', isPrecisionForced } = publication;
    const serving = await choosePrecision(
      path.join(draft, 'onnx'),
      architecture,
      weights,
      precision,
      isPrecisionForced,
    );
    const manifest: Manifest = {
      format: 1,
      id,
      name,
      ...provenance,
      architecture,
      serving,
      tokenizer_hash: (await Tokenizer.open(draft)).hash,
      files: await hashFiles(draft),
      created_at: new Date().toISOString(),
    };
    await writeManifest(draft, manifest);
    await shelf.publish(draft, id);
    await registerPolicy(db, {
      id,
      name,
      parent_id: provenance.parent,
      reference_id: provenance.reference,
      round_id: publication.roundId ?? null,
      manifest,
    });
    return id;
  } catch (error) {
    await shelf.discard(draft);
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
      throw new AttuneError('policies: the disk is full; nothing was published. Free some space and try again', {
        status: 507,
        code: 'disk_full',
      });
    throw error;
  }
}

/** Makes the serving graph of a copied package anew; the copy gets an id of its own, and the policy it was as parent. */
export async function changePrecision(folder: string, precision: PrecisionName): Promise<Manifest> {
  const before = await readManifest(folder);
  const { architecture, weights } = await readCheckpoint(folder);
  const onnx = path.join(folder, 'onnx');
  await rm(onnx, { recursive: true });
  await writePolicyGraphs(folder, architecture, weights);
  const manifest: Manifest = {
    ...before,
    id: newId('pol_'),
    parent: before.id,
    serving: await choosePrecision(onnx, architecture, weights, precision, true),
    files: await hashFiles(folder),
    created_at: new Date().toISOString(),
  };
  await writeManifest(folder, manifest);
  return manifest;
}

export type ImportOptions = Pick<PublishOptions, 'precision' | 'isPrecisionForced'> & {
  /** Where it came from. */
  origin?: Pick<Manifest, 'source' | 'license'>;
};

/** Imports a checkpoint in Hugging Face layout. */
export async function importPolicy(
  db: Database,
  shelf: LocalStore,
  folder: string,
  name: string,
  options: ImportOptions = {},
): Promise<string> {
  const { origin = { source: `imported: ${name}` }, ...precision } = options;
  const { architecture, weights } = await readCheckpoint(folder);
  return publishPolicy({
    shelf,
    db,
    name,
    sourceFolder: folder,
    architecture,
    weights,
    ...precision,
    provenance: { parent: null, reference: null, objective: null, pairs: null, metrics: {}, ...origin },
  });
}
