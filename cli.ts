#!/usr/bin/env node
// The `attune` command, which composes edge and trainer. Nothing imports it. An AttuneError is printed as one line.

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import packageJson from './package.json' with { type: 'json' };
import { runProgram } from './shared/process.ts';

// Before anything large is imported. Where the folder cannot be written, nothing is kept.
enableCompileCache(fileURLToPath(new URL('node_modules/.cache/attune', import.meta.url)));

/** Only the file of the command that is asked for is loaded: all of them take two seconds. */
const COMMANDS: Record<string, () => Promise<(program: Command) => void>> = {
  start: async () => (await import('./cli/start.ts')).addStart,
  serve: async () => (await import('./cli/serve.ts')).addServe,
  train: async () => (await import('./cli/train.ts')).addTrain,
  policies: async () => (await import('./cli/policies.ts')).addPolicies,
  canary: async () => (await import('./cli/canary.ts')).addCanary,
  rewards: async () => (await import('./cli/rewards.ts')).addRewards,
  preferences: async () => (await import('./cli/preferences.ts')).addPreferences,
  leaderboard: async () => (await import('./cli/leaderboard.ts')).addLeaderboard,
  comparisons: async () => (await import('./cli/comparisons.ts')).addComparisons,
  keys: async () => (await import('./cli/keys.ts')).addKeys,
  audit: async () => (await import('./cli/audit.ts')).addAudit,
  raters: async () => (await import('./cli/raters.ts')).addRaters,
  queues: async () => (await import('./cli/queues.ts')).addQueues,
  erasures: async () => (await import('./cli/erasures.ts')).addErasures,
  webhooks: async () => (await import('./cli/webhooks.ts')).addWebhooks,
  backup: async () => (await import('./cli/backup.ts')).addBackup,
  restore: async () => (await import('./cli/restore.ts')).addRestore,
  demo: async () => (await import('./cli/demo.ts')).addDemo,
  'dev-worker': async () => (await import('./cli/dev-worker.ts')).addDevWorker,
  tensorflow: async () => (await import('./cli/tensorflow.ts')).addTensorflow,
  doctor: async () => (await import('./cli/doctor.ts')).addDoctor,
};

const program = new Command('attune')
  .description('Serves a small language model, collects preferences, and trains on them while it serves.')
  .version(packageJson.version)
  .showHelpAfterError('(run with --help for usage)');

async function formatHelp(): Promise<string> {
  const { describeSettings } = await import('./shared/settings.ts');
  const settings = describeSettings();
  const width = Math.max(...settings.map(({ name }) => name.length));
  const lines = settings.map((setting) => {
    const fallback = setting.default ? ` (${setting.default})` : '';
    return `  ${setting.name.padEnd(width)}  ${setting.description}${fallback}`;
  });
  return `
Examples:
  $ npx attune start                            run everything on this machine, on port 8787
  $ npx attune preferences import votes.jsonl   import preferences from a file
  $ npx attune train                            run one training round now

Settings are environment variables (default in parentheses):
${lines.join('\n')}
`;
}

await runProgram(async () => {
  const name = process.argv[2] ?? '';
  const isNamed = Object.hasOwn(COMMANDS, name);
  for (const load of isNamed ? [COMMANDS[name]!] : Object.values(COMMANDS)) (await load())(program);
  if (!isNamed) program.addHelpText('after', await formatHelp());
  await program.parseAsync();
});
