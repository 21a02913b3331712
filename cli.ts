#!/usr/bin/env node
// The `attune` command, which composes edge and trainer. Nothing imports it. An AttuneError is printed as one line.

import { Command } from 'commander';
import { addAudit } from './cli/audit.ts';
import { addBackup } from './cli/backup.ts';
import { addCanary } from './cli/canary.ts';
import { addComparisons } from './cli/comparisons.ts';
import { addDemo } from './cli/demo.ts';
import { addDevWorker } from './cli/dev-worker.ts';
import { addDoctor } from './cli/doctor.ts';
import { addErasures } from './cli/erasures.ts';
import { addKeys } from './cli/keys.ts';
import { addLeaderboard } from './cli/leaderboard.ts';
import { addPolicies } from './cli/policies.ts';
import { addPreferences } from './cli/preferences.ts';
import { addQueues } from './cli/queues.ts';
import { addRaters } from './cli/raters.ts';
import { addRestore } from './cli/restore.ts';
import { addRewards } from './cli/rewards.ts';
import { addServe } from './cli/serve.ts';
import { addStart } from './cli/start.ts';
import { addTensorflow } from './cli/tensorflow.ts';
import { addTrain } from './cli/train.ts';
import { addWebhooks } from './cli/webhooks.ts';
import packageJson from './package.json' with { type: 'json' };
import { runProgram } from './shared/process.ts';
import { describeSettings } from './shared/settings.ts';

const program = new Command('attune')
  .description('Serves a small language model, collects preferences, and trains on them while it serves.')
  .version(packageJson.version)
  .showHelpAfterError('(run with --help for usage)')
  .addHelpText(
    'after',
    () => `
Examples:
  $ npx attune start                            run everything on this machine, on port 8787
  $ npx attune preferences import votes.jsonl   import preferences from a file
  $ npx attune train                            run one training round now

Settings are environment variables (default in parentheses):
${formatSettings()}
`,
  );

for (const add of [
  addStart,
  addServe,
  addTrain,
  addPolicies,
  addCanary,
  addRewards,
  addPreferences,
  addLeaderboard,
  addComparisons,
  addKeys,
  addAudit,
  addRaters,
  addQueues,
  addErasures,
  addWebhooks,
  addBackup,
  addRestore,
  addDemo,
  addDevWorker,
  addTensorflow,
  addDoctor,
])
  add(program);

function formatSettings(): string {
  const settings = describeSettings();
  const width = Math.max(...settings.map(({ name }) => name.length));
  const lines = settings.map((setting) => {
    const fallback = setting.default ? ` (${setting.default})` : '';
    return `  ${setting.name.padEnd(width)}  ${setting.description}${fallback}`;
  });
  return lines.join('\n');
}

await runProgram(() => program.parseAsync());
