// Part c: Schemathesis (schemathesis.readthedocs.io) generates requests, valid and invalid, for every operation of
// /openapi.json, and raw sockets send what is no HTTP. No answer is a 5xx, and every one fits its schema.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { installTool } from '../../testing/install-tool.ts';
import { runRawRequests } from './raw-requests.ts';
import type { Report } from './report.ts';
import { openSystem } from './system.ts';

const HOOKS = fileURLToPath(new URL('./schemathesis_hooks.py', import.meta.url));
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
];
/** A request that takes longer has hung. */
const REQUEST_TIMEOUT_S = 20;

/** Failures that are expected, by kind and operation, with the reason. */
const KNOWN: Record<string, string> = {};

export type MalformedPlan = { seed: number; examples: number; isQuick: boolean };

export async function runMalformed(report: Report, plan: MalformedPlan): Promise<void> {
  const system = await openSystem();
  try {
    // No trainer runs here. The events of a round that never ends never end either.
    const { sql } = system.connection;
    const end = () => sql`update rounds set status = 'cancelled', finished_at = now() where status = 'queued'`;
    const timer = setInterval(() => end().catch(() => {}), 500);
    await Promise.all([runRawRequests(report, system.url, plan.isQuick), runSchemathesis(report, system.url, plan)]);
    clearInterval(timer);
    if (system.api.endedItself > 0)
      report.fail(`malformed input: the API ended itself ${system.api.endedItself} times`);
  } finally {
    await system.close();
  }
}

/**
 * A stream without an end. Schemathesis reads each response to its end, and calls one that has none within the timeout a
 * failure. Nothing is left untried: without parameters and a body there is one request, which the conformance suite sends.
 */
const ENDLESS = '/v1/loop/events';

/** The parts of Schemathesis' JSON report that are read here. */
type Results = {
  operations: { tested: number };
  test_cases: { generated: number };
  failures: { title: string; type: string; count: number; operations: string[] }[];
  errors: { title: string }[];
};

async function runSchemathesis(report: Report, url: string, { seed, examples, isQuick }: MalformedPlan): Promise<void> {
  const tool = installTool({ name: 'schemathesis', from: { venv: 'schemathesis==4.32.5' } });
  if ('missing' in tool) return report.skip(tool.missing);
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-schemathesis-'));
  try {
    const file = path.join(folder, 'report.json');
    await writeFile(path.join(folder, 'schemathesis.toml'), `hooks = ${JSON.stringify(HOOKS)}\n`);
    const args = [
      ...['--config-file', path.join(folder, 'schemathesis.toml'), 'run', `${url}/openapi.json`],
      ...[
        '--max-examples',
        String(examples),
        '--seed',
        String(seed),
        '--phases',
        isQuick ? 'fuzzing' : 'coverage,fuzzing',
      ],
      ...['--exclude-path', ENDLESS],
      ...['--checks', CHECKS.join(), '--continue-on-failure', '--no-shrink', '--workers', '2'],
      ...['--request-timeout', String(REQUEST_TIMEOUT_S), '--report', 'json', '--report-json-path', file],
    ];
    // It exits with 1 if it found something, which the report tells.
    const { stdout } = await promisify(execFile)(tool.path, args, { cwd: folder, maxBuffer: 2 ** 28 }).catch(
      (error: { stdout: string }) => error,
    );
    const results: Results = JSON.parse(await readFile(file, 'utf8'));
    const { operations, test_cases } = results;
    const note = `${operations.tested} operations, at most ${examples} examples each${isQuick ? '' : ' and its boundary values'}`;
    report.add({
      what: 'generated requests',
      times: 1,
      tried: test_cases.generated,
      acknowledged: test_cases.generated,
      note,
    });
    const documented = await countOperations(url);
    if (operations.tested !== documented)
      report.fail(`schemathesis: tested ${operations.tested} of ${documented} operations`);
    const failures = results.failures.flatMap(({ title, operations: names }) =>
      names.map((name) => `${title}: ${name}`),
    );
    for (const failure of failures)
      if (failure in KNOWN) report.log(`schemathesis: ${failure}, as expected: ${KNOWN[failure]}`);
      else report.fail(`schemathesis: ${failure}`);
    for (const { title } of results.errors) report.fail(`schemathesis: ${title}`);
    if (failures.some((failure) => !(failure in KNOWN)) || results.errors.length > 0) console.error(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function countOperations(url: string): Promise<number> {
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, object> };
  const tested = Object.entries(paths).filter(([path]) => path !== ENDLESS);
  return tested.reduce((count, [, path]) => count + Object.keys(path).length, 0);
}
