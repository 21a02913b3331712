// Downloads a checkpoint from the Hugging Face hub or the mirror in HF_ENDPOINT. The revision is resolved to one commit
// first, so that a push during the download cannot mix two models. Only config, tokenizer and safetensors files are
// downloaded: no pickles, no weights of other frameworks.
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { downloadFile, HubApiError, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { AttuneError } from '../error.ts';
import { CHECKPOINT_FILES, TOKENIZER_FILES } from '../model/checkpoint-files.ts';
import { hashFile } from '../package/files.ts';

export type FetchProgress = { file: string; loadedBytes: number; totalBytes: number };

export type FetchedCheckpoint = {
  files: string[];
  /** `hf.co/OWNER/NAME@commit`, for the manifest. */
  source: string;
  license?: string;
};

const REQUIRED = [TOKENIZER_FILES.config, TOKENIZER_FILES.tokenizer];
const SINGLE = 'model.safetensors';
const SHARD = /^model-\d+-of-\d+\.safetensors$/;
const SHARD_INDEX = 'model.safetensors.index.json';

/** Downloads OWNER/NAME or OWNER/NAME@revision into the folder. Throws AttuneError. */
export async function fetchCheckpoint(
  repository: string,
  folder: string,
  options: { onProgress?: (progress: FetchProgress) => void; env?: Record<string, string | undefined> } = {},
): Promise<FetchedCheckpoint> {
  const [, name, revisionName] = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?$/.exec(repository) ?? [];
  if (name === undefined) {
    throw new AttuneError(
      `hub: ${JSON.stringify(repository)} is not a model name; use OWNER/NAME or OWNER/NAME@revision`,
      {
        param: 'source',
        code: 'invalid_source',
      },
    );
  }
  const hub = readHubEnv(options.env ?? process.env);
  const repo = { type: 'model', name } as const;
  try {
    const info = await modelInfo({ ...hub, name, revision: revisionName, additionalFields: ['sha', 'cardData'] });
    const revision = info.sha;
    const listed: ListFileEntry[] = [];
    for await (const entry of listFiles({ ...hub, repo, revision })) if (entry.type === 'file') listed.push(entry);
    const selected = selectFiles(name, listed);

    await mkdir(folder, { recursive: true });
    const totalBytes = selected.reduce((sum, { size }) => sum + size, 0);
    let loadedBytes = 0;
    for (const entry of selected) {
      const blob = await downloadFile({ ...hub, repo, revision, path: entry.path });
      if (blob === null) throw hubError(`${name} lists ${entry.path} but it cannot be downloaded`, 'retry', 502);
      await save(blob, entry, folder, (bytes) => {
        loadedBytes += bytes;
        options.onProgress?.({ file: entry.path, loadedBytes, totalBytes });
      });
    }
    const license = (info.cardData as { license?: unknown } | undefined)?.license;
    return {
      files: selected.map(({ path }) => path),
      source: `${new URL(hub.hubUrl).host.replace(/^huggingface\.co$/, 'hf.co')}/${name}@${revision}`,
      ...(typeof license === 'string' ? { license } : {}),
    };
  } catch (error) {
    throw toAttuneError(error, name, hub.hubUrl);
  }
}

function readHubEnv(env: Record<string, string | undefined>): { hubUrl: string; accessToken?: string } {
  const hubUrl = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  if (!URL.canParse(hubUrl)) {
    throw new AttuneError(`HF_ENDPOINT: ${JSON.stringify(hubUrl)} is not a URL; use https://HOST`, {
      code: 'invalid_settings',
    });
  }
  if (!env.HF_TOKEN) return { hubUrl };
  if (!env.HF_TOKEN.startsWith('hf_')) {
    throw new AttuneError('HF_TOKEN does not start with hf_; create a token at huggingface.co/settings/tokens', {
      code: 'invalid_settings',
    });
  }
  return { hubUrl, accessToken: env.HF_TOKEN };
}

function selectFiles(name: string, listed: ListFileEntry[]): ListFileEntry[] {
  const byPath = new Map(listed.map((entry) => [entry.path, entry]));
  const missing: string[] = REQUIRED.filter((path) => !byPath.has(path));
  if (!byPath.has(SINGLE) && !byPath.has(SHARD_INDEX)) missing.push(SINGLE);
  if (missing.length > 0) {
    throw hubError(
      `${name} has no ${missing.join(', ')}`,
      'choose a model in safetensors format with tokenizer.json',
      400,
    );
  }
  const weights = byPath.has(SINGLE)
    ? [SINGLE]
    : [SHARD_INDEX, ...[...byPath.keys()].filter((path) => SHARD.test(path))];
  return [...CHECKPOINT_FILES, ...weights].flatMap((path) => byPath.get(path) ?? []);
}

async function save(blob: Blob, entry: ListFileEntry, folder: string, onBytes: (bytes: number) => void): Promise<void> {
  const target = join(folder, entry.path);
  const partial = `${target}.partial`;
  const counter = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      onBytes(chunk.length);
      done(null, chunk);
    },
  });
  try {
    const body = Readable.fromWeb(blob.stream() as unknown as ReadableStream<Uint8Array>);
    await pipeline(body, counter, createWriteStream(partial, { flush: true }));
    const received = await hashFile(partial);
    if (received.bytes !== entry.size || (entry.lfs && received.sha256 !== entry.lfs.oid)) {
      throw hubError(`${entry.path} was damaged in transfer (${received.bytes} of ${entry.size} bytes)`, 'retry', 502);
    }
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

function toAttuneError(error: unknown, name: string, hubUrl: string): Error {
  if (error instanceof AttuneError) return error;
  if (error instanceof HubApiError) {
    // The hub responds 401 for a model that does not exist, to hide which private models do.
    if ([401, 403, 404].includes(error.statusCode)) {
      const remedy = 'check the name, or set HF_TOKEN if it is private or gated';
      return hubError(
        `${name} does not exist at ${hubUrl} or access is denied (status ${error.statusCode})`,
        remedy,
        404,
      );
    }
    return hubError(`${hubUrl} responded ${error.statusCode} for ${name}`, 'retry later', 502);
  }
  // fetch reports network failures as a TypeError with the reason as its cause.
  if (error instanceof TypeError && error.cause !== undefined) {
    const reason = (error.cause as { code?: string }).code ?? error.message;
    const remedy = 'check the network, set HF_ENDPOINT to a mirror, or import a local folder';
    return hubError(`${hubUrl} is unreachable (${reason})`, remedy, 502);
  }
  return error instanceof Error ? error : new Error(`internal: ${error}`);
}

function hubError(problem: string, remedy: string, status: number): AttuneError {
  return new AttuneError(`hub: ${problem}; ${remedy}`, { status, code: 'hub_error' });
}
