#!/usr/bin/env node
// The `attune` command: composes edge and trainer. Nothing imports it. Errors that people can mend are one line.

import { Command } from 'commander';
import { addDemo } from './cli/demo.ts';
import { addDevWorker } from './cli/dev-worker.ts';
import { addDoctor } from './cli/doctor.ts';
import { addPolicies } from './cli/policies.ts';
import { addPreferences } from './cli/preferences.ts';
import { addServe } from './cli/serve.ts';
import { addStart } from './cli/start.ts';
import { addTensorflow } from './cli/tensorflow.ts';
import { addTrain } from './cli/train.ts';
import packageJson from './package.json' with { type: 'json' };
import { runProgram } from './shared/process.ts';
import { describeSettings } from './shared/settings.ts';

const program = new Command('attune')
  .description('Serves a small language model, takes preferences, and learns from them while it serves.')
  .version(packageJson.version)
  .showHelpAfterError('(add --help for what is understood)')
  .addHelpText(
    'after',
    () => `
Examples:
  $ npx attune start                              everything on this machine, on port 8787
  $ npx attune preferences import votes.jsonl     take preferences from a file
  $ npx attune train                              one round now

Settings are environment variables:
${describeSettings()
  .map(
    (setting) => `  ${setting.name.padEnd(17)} ${setting.description}${setting.default ? ` (${setting.default})` : ''}`,
  )
  .join('\n')}
`,
  );

for (const add of [
  addStart,
  addServe,
  addTrain,
  addPolicies,
  addPreferences,
  addDemo,
  addDevWorker,
  addTensorflow,
  addDoctor,
])
  add(program);

await runProgram(() => program.parseAsync());
