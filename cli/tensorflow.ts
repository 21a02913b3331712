// attune tensorflow: installs the native library of the TensorFlow engine, which trains on NVIDIA GPUs.

import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { addonLocation } from '../trainer/engine/devices/tensorflow/addon.ts';
import { installAddon } from '../trainer/engine/devices/tensorflow/install.ts';

export function addTensorflow(program: Command): void {
  program
    .command('tensorflow')
    .description('install the training engine for NVIDIA GPUs')
    .addHelpText('after', '\nExamples:\n  $ npx attune tensorflow install --gpu\n  $ npx attune doctor\n')
    .command('install')
    .option('--gpu', 'with CUDA: 5 GB of disk space instead of 0.6')
    .description('build the native library of ENGINE=tensorflow in the user’s cache')
    .addHelpText(
      'after',
      `
Requires python3 with pip, a C++ compiler, make and npm. pip downloads TensorFlow from its configured index. The library
goes to $XDG_CACHE_HOME/attune/tensorflow (default: ~/.cache); if it is already there, nothing is done.

Examples:
  $ npx attune tensorflow install
  $ npx attune tensorflow install --gpu
`,
    )
    .action(async ({ gpu }: { gpu?: boolean }) => {
      const kind = gpu ? 'gpu' : 'cpu';
      const { file, folder } = addonLocation(kind);
      if (existsSync(file)) console.log(`tensorflow: already installed in ${folder}`);
      else await installAddon(kind, (line) => console.log(`tensorflow: ${line}`));
      console.log('tensorflow: run `npx attune doctor` to see which engine trains');
    });
}
