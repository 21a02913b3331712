// npm run bench:serve: serving speed and accuracy of Attune, as a library and over HTTP, against transformers.js and
// llama.cpp with the same weights, precision class and threads. Tables go to stdout, progress to stderr.
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { AttuneError } from '../../shared/error.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { Cache } from './cache.ts';
import { compareOutputs } from './compare-outputs.ts';
import { listDefaultModels, type Model, openModel, unavailableModelReason } from './models.ts';
import { findAccuracy } from './peer-accuracy.ts';
import { installPython, QUANTIZE_ENV } from './python.ts';
import { ACCURACY_LEGEND, formatAccuracy, formatCase, SERVING_LEGEND } from './report.ts';
import { maxRoofline, measureRoofline, type Roofline } from './roofline.ts';
import { type CaseResult, type PreparedPeer, runCase } from './run-case.ts';
import { stopServingPeers } from './run-serving-peer.ts';
import { type Options, program } from './serve-options.ts';
import { listCases } from './serving-cases.ts';
import { OPTIONAL_PEERS, preparePeer, SERVING_PEERS, type ServingPeer, unavailableReason } from './serving-peers.ts';
import { evaluateTargets, formatTargets } from './serving-targets.ts';
import { installSmolLm2, SMOLLM2_INSTRUCT } from './smollm2.ts';

/** An artifact being built is completed first, because Postgres may be running for it. */
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    stop.abort(new AttuneError(`stopped (${signal})`));
    stopServingPeers();
  });
}

const log = (line: string) => console.error(`bench: ${line}`);

async function main(options: Options): Promise<void> {
  if (process.platform !== 'linux') throw new AttuneError('bench:serve requires Linux, because it reads /proc');
  const cache = new Cache(options.cache, log);
  log(`cache folder: ${cache.folder}`);
  if (options.setup) {
    await installPython(cache, QUANTIZE_ENV);
    return installSmolLm2(cache);
  }
  const peers = selectPeers(options.peers ?? [], cache);
  const rounds = options.rounds ?? (options.quick ? 1 : 3);
  const { threads } = options;
  const names = options.models ?? (options.model.length > 0 ? [] : listDefaultModels(process.env));

  console.log(`${describeMachine(threads)}\n\n${ACCURACY_LEGEND}\n${SERVING_LEGEND}\n`);
  let roofline: Roofline | null = null;
  const report: object[] = [];
  for (const name of [...names, ...options.model]) {
    const reason = unavailableModelReason(name, cache);
    if (reason) {
      reportMissing(name, reason);
      continue;
    }
    const model = await openModel(cache, name, process.env);
    const comparison = name === 'stories15M' && !options.accuracy ? await checkOutputs(cache, model, threads) : null;
    const architecture = await readArchitecture(model.folder);
    const prepared = await preparePeers(peers, cache, model);
    const accuracy = prepared.map(({ peer, accuracy }) => ({ peer: peer.name, accuracy }));
    console.log(`\n${model.name} · accuracy\n${formatAccuracy(accuracy)}`);
    const cases: CaseResult[] = [];
    for (const benchCase of options.accuracy ? [] : listCases(options, architecture.contextLength)) {
      const measured = await measureRoofline(threads);
      roofline = roofline ? maxRoofline(roofline, measured) : measured;
      const settings = { threads, rounds, stop: stop.signal };
      const result = await runCase(benchCase, prepared, architecture, roofline, settings, log);
      cases.push(result);
      if (result.results.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
      console.log(`\n${describeCase(model, result, rounds, roofline)}\n${formatCase(result)}`);
    }
    const targets = name === SMOLLM2_INSTRUCT ? evaluateTargets(cases) : [];
    if (targets.length > 0) console.log(`\nTargets for ${SMOLLM2_INSTRUCT}\n${formatTargets(targets)}`);
    report.push({ model: model.name, architecture, comparison, accuracy, cases, targets });
  }
  if (!options.json) return;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, threads, roofline };
  await writeFile(options.json, `${JSON.stringify({ machine, rounds, models: report }, null, 2)}\n`);
  log(`wrote ${options.json}`);
}

/** Builds what each peer loads, and measures its accuracy. */
async function preparePeers(peers: ServingPeer[], cache: Cache, model: Model): Promise<PreparedPeer[]> {
  const prepared: PreparedPeer[] = [];
  for (const peer of peers) {
    stop.signal.throwIfAborted();
    const source = await preparePeer(peer, cache, model);
    const accuracy = await findAccuracy(cache, model, peer).catch((error: Error) => {
      stop.signal.throwIfAborted();
      log(`${peer.name}: its accuracy could not be measured: ${error.message}`);
      process.exitCode = 1;
      return null;
    });
    prepared.push({ peer, source, accuracy });
  }
  return prepared;
}

function selectPeers(names: string[], cache: Cache): ServingPeer[] {
  const known = [...SERVING_PEERS, ...OPTIONAL_PEERS];
  const isNamed = (peer: ServingPeer) => names.includes(peer.name);
  const isFamilyNamed = (peer: ServingPeer) => names.length === 0 || names.includes(peer.program);
  for (const name of names) {
    if (known.some((peer) => peer.name === name || peer.program === name)) continue;
    throw new AttuneError(`--peers: unknown peer ${name}; see --help for the list`);
  }
  return known
    .filter((peer) => isNamed(peer) || (isFamilyNamed(peer) && !OPTIONAL_PEERS.includes(peer)))
    .filter((peer) => {
      const reason = unavailableReason(peer, cache);
      if (reason) reportMissing(peer.name, reason);
      return !reason;
    });
}

function reportMissing(name: string, reason: string): void {
  console.log(`\n*** ${name} is NOT measured: ${reason} ***\n`);
}

async function checkOutputs(cache: Cache, model: Model, threads: number) {
  log('comparing the outputs of the float32 peers');
  const comparison = await compareOutputs(cache, model, threads);
  const { peers, tokens, differing } = comparison;
  if (differing.length > 0)
    throw new AttuneError(
      `the float32 peers generate different tokens, so they are not comparable:\n${differing.join('\n')}`,
    );
  console.log(`Identical ${tokens} greedy tokens at float32: ${peers.join(', ')}`);
  return comparison;
}

function describeMachine(threads: number): string {
  return `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${threads} threads for every peer`;
}

function describeCase(
  { name }: Model,
  { streams, promptLength, tokens }: CaseResult,
  rounds: number,
  { readBytesPerSecond, float32, int8 }: Roofline,
): string {
  const giga = (value: number) => (value / 1e9).toFixed(0);
  return `${name} · ${streams} × (${promptLength} + ${tokens}) tokens · ${rounds} round${rounds > 1 ? 's' : ''}
Roofline: ${giga(readBytesPerSecond)} GB/s memory reads, ${giga(float32)} GFLOP/s float32, ${giga(int8)} Gop/s int8`;
}

try {
  await program.parseAsync();
  await main(program.opts<Options>());
} catch (error) {
  console.error(error instanceof AttuneError ? `bench: ${error.message}` : error);
  process.exitCode = stop.signal.aborted ? 130 : 1;
}
