// attune tensorflow: builds the native library of the TensorFlow engine, which an NVIDIA GPU is trained on with.
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { addonLocation } from '../trainer/engine/devices/tensorflow/addon.ts';
import { installAddon } from '../trainer/engine/devices/tensorflow/install.ts';

export function addTensorflow(program: Command): void {
  program
    .command('tensorflow')
    .description('the engine for NVIDIA GPUs')
    .addHelpText('after', '\nExamples:\n  $ npx attune tensorflow install --gpu\n  $ npx attune doctor\n')
    .command('install')
    .option('--gpu', 'with CUDA: 5 GB on disk instead of 0.6')
    .description('build the native library that ENGINE=tensorflow needs, in the user’s cache')
    .addHelpText(
      'after',
      `
It takes python3 with pip, a C++ compiler, make and npm. pip downloads TensorFlow from the index it is configured with;
everything goes to $XDG_CACHE_HOME/attune/tensorflow (~/.cache where that is not set), and this again does nothing.

Examples:
  $ npx attune tensorflow install
  $ npx attune tensorflow install --gpu
`,
    )
    .action(async ({ gpu }: { gpu?: boolean }) => {
      const kind = gpu ? 'gpu' : 'cpu';
      const { file, folder } = addonLocation(kind);
      if (existsSync(file)) console.log(`tensorflow: it is installed already, in ${folder}`);
      else await installAddon(kind, (line) => console.log(`tensorflow: ${line}`));
      console.log('tensorflow: `npx attune doctor` says which engine trains');
    });
}
