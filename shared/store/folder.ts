// The policy store that is a folder of this machine: each package a folder in it, made as a draft and renamed into place
// when whole.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { packageFilePath, readManifest } from '../package/files.ts';
import { damagedPolicy, isPackagePath, type Manifest } from '../package/manifest.ts';
import { writePackageFolder } from './copy-package.ts';
import { openStaging } from './staging.ts';
import { isPolicyId, type PolicyStore, policyExistsError, policyNotFoundError } from './store.ts';

export async function openFolderStore(root: string): Promise<PolicyStore> {
  const drafts = await openStaging(root);
  const isThere = async (id: string) => isPolicyId(id) && (await stat(path.join(root, id)).catch(() => null)) !== null;
  return {
    location: root,
    async manifest(id) {
      if (!(await isThere(id))) return null;
      const manifest = await readManifest(path.join(root, id));
      if (manifest.id !== id) throw damagedPolicy(id, `policy.json is that of ${manifest.id}`);
      return manifest;
    },
    async read(id, file) {
      if (!(await isThere(id))) throw policyNotFoundError(id, root);
      const source = packageFilePath(path.join(root, id), file);
      const found = isPackagePath(file) ? await stat(source).catch(() => null) : null;
      if (!found?.isFile()) throw damagedPolicy(id, `file ${file} is missing`);
      return Readable.toWeb(createReadStream(source, { highWaterMark: 1 << 20 })) as ReadableStream<Uint8Array>;
    },
    async write(manifest: Manifest, open) {
      if (!isPolicyId(manifest.id)) throw new Error(`internal: ${manifest.id} is no policy's id`);
      if (await isThere(manifest.id)) throw policyExistsError(manifest.id, root);
      const draft = await drafts.create();
      try {
        await writePackageFolder(draft, manifest, open);
        if (!(await drafts.commit(draft, manifest.id))) throw policyExistsError(manifest.id, root);
      } catch (error) {
        await drafts.discard(draft);
        throw error;
      }
    },
    // Drafts of dead processes went when the folder was opened, and nothing else is ever half there.
    discard: async () => {},
  };
}
